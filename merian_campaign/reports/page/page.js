"use strict";
(() => {
  const $ = (query, from) => (from || document).querySelector(query);
  const $$ = (query, from) => [...(from || document).querySelectorAll(query)];
  const data = JSON.parse($("#data").textContent);
  const views = new Map();

  // -- light and dark: the colours are the style sheet's, pictures only name them
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const themed = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme; };
  themed(stored());
  $("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    themed(dark ? "light" : "dark");
    try { localStorage.setItem("theme", dark ? "light" : "dark"); } catch { /* kept for this visit only */ }
  });

  // -- words beside the pointer, as text and nothing else
  const tip = $("#tip");
  const showTip = (handler, event, item, value) => {
    if (value === null || value === undefined || value === "") { tip.classList.remove("on"); return; }
    tip.textContent = String(value);
    tip.classList.add("on");
    const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 18 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, x)}px`;
    tip.style.top = `${below ? event.clientY + 18 : Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
  };
  addEventListener("scroll", () => tip.classList.remove("on"), { passive: true });

  // -- one signal of all pictures that have it
  const signal = (name, value) => {
    for (const view of views.values()) {
      try { view.signal(name, value); } catch { continue; }
      view.runAsync();
    }
  };

  // -- a tract is chosen everywhere
  let chosen = 0;
  const choose = (tract) => {
    chosen = tract === chosen ? 0 : tract;
    signal("tract", chosen);
    for (const row of $$("tr[data-tract]")) row.classList.toggle("is", Number(row.dataset.tract) === chosen);
    const which = $("#which");
    if (which) which.value = chosen || "";
    detail();
  };
  const cell = (row, text, kind) => {
    const made = document.createElement("td");
    made.textContent = text;
    if (kind) made.className = kind;
    row.append(made);
    return made;
  };
  const detail = () => {
    const box = $("#chosen");
    const tract = data.tracts[chosen];
    box.classList.toggle("on", Boolean(tract));
    if (!tract) return;
    $("h3", box).textContent = `Tract ${chosen}: ${tract.words}`;
    $("p", box).textContent = tract.reason;
    const body = $("tbody", box);
    body.replaceChildren();
    for (const line of tract.lines) {
      const row = document.createElement("tr");
      line.forEach((value, place) => cell(row, value, place > 1 ? "n" : ""));
      body.append(row);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pick]");
    if (button) choose(Number(button.dataset.pick));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen) choose(chosen);
  });
  $("#which")?.addEventListener("change", (event) => {
    const tract = Number(event.target.value);
    if (data.tracts[tract]) { if (tract !== chosen) choose(tract); } else if (chosen) choose(chosen);
  });
  $("#clear")?.addEventListener("click", () => { if (chosen) choose(chosen); });

  // -- what the sky shows
  const sky = () => {
    const mode = $("#mode").value;
    signal("mode", mode);
    const step = $("#step").value;
    const band = $("#band");
    const bands = data.bands[step] || [""];
    const kept = bands.includes(band.value) ? band.value : "";
    band.replaceChildren(...bands.map((name) => new Option(name || "all bands", name, false, name === kept)));
    signal("key", `${step}|${kept}`);
    for (const label of $$("[data-for=complete]")) label.hidden = mode !== "complete";
    for (const list of $$(".legend[data-mode]")) list.hidden = list.dataset.mode !== mode;
  };
  const on = (id, work) => { const found = $(id); if (found) found.addEventListener("change", work); };
  on("#mode", sky); on("#step", sky); on("#band", sky);
  on("#unit", (event) => signal("unit", event.target.value));
  on("#visits", (event) => signal("visits", event.target.checked));
  on("#order", (event) => signal("order", event.target.value));
  on("#only-nights", (event) => signal("night", event.target.value));
  on("#only", (event) => { signal("only", event.target.value); filter(); });

  // -- tables: sorted by their headings, filtered by words
  const value = (row, place) => {
    const found = row.cells[place];
    return "v" in found.dataset ? Number(found.dataset.v) : found.textContent.trim();
  };
  for (const table of $$("table.sortable")) {
    const headings = $$("thead tr:last-child th", table);
    headings.forEach((heading, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        const rows = [...body.rows].sort((one, other) => {
          const a = value(one, place), b = value(other, place);
          const order = typeof a === "number" && typeof b === "number"
            ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
          return up ? order : -order;
        });
        body.append(...rows);
      });
    });
  }
  const filter = () => {
    const words = $("#find").value.trim().toLowerCase();
    const only = $("#only").value;
    let shown = 0;
    for (const row of $$("#tracts-table tbody tr")) {
      const fits = (!words || row.textContent.toLowerCase().includes(words)) && (!only || row.dataset.state === only);
      row.hidden = !fits;
      shown += fits;
    }
    $("#shown").textContent = `${shown} shown`;
  };
  $("#find")?.addEventListener("input", filter);

  // -- commands are copied, not typed
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1600);
  });

  // -- the pictures
  const draw = async (name, spec) => {
    const place = document.getElementById(`pic-${name}`);
    const shape = spec.usermeta?.shape;
    if (shape) spec.height = Math.min(spec.height, Math.round((place.clientWidth - 66) * shape) + 36);
    const { view } = await vegaEmbed(place, spec, { mode: "vega", renderer: "svg", actions: false, tooltip: showTip });
    view.addEventListener("click", (event, item) => {
      const tract = item && item.datum && item.datum.tract;
      if (tract > 0) choose(tract);
    });
    place.addEventListener("pointerleave", () => tip.classList.remove("on"));
    views.set(name, view);
  };
  Promise.all(Object.entries(data.pictures).map(([name, spec]) => draw(name, spec))).then(() => {
    if ($("#mode")) sky();
    root.dataset.drawn = String(views.size);
  });
  if ($("#find")) filter();
})();
