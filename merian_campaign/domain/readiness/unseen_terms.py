"""Terms of a step's data query of which the exposures that it selects tell nothing: an edit of them is one.

Which exposures a step over exposures or visits takes is looked up, so that of nights that are added only they
count. That a detector is left out is seen in no exposure; neither is what a step by tract asks for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator

from merian_campaign.domain.spec import ActionStep, BpsStep, CampaignSpec
from merian_campaign.domain.spec.steps import effective_scope

__all__ = ["digest_of_arguments", "digest_of_unseen_terms"]

_WORDS = re.compile(r"'[^']*'|[a-z_][a-z0-9_.]*", re.IGNORECASE)
_TOKENS = re.compile(r"'[^']*'|[()]|\band\b|\bor\b", re.IGNORECASE)
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "like", "true", "false", "overlaps"})
_SEEN = frozenset({"instrument", "exposure", "visit", "day_obs", "physical_filter", "band"})


def digest_of_unseen_terms(spec: CampaignSpec, step: BpsStep) -> str:
    """Return a digest that is another one once such a term is; never empty."""
    texts = (*step.select.terms(), spec.where, step.where)
    terms = {" ".join(term.split()) for text in texts for term in _terms(text)}
    if effective_scope(step) in {"exposure", "visit"}:
        terms = {term for term in terms if not _is_seen(term)}
    return hashlib.sha256("\n".join(sorted(terms)).encode()).hexdigest()[:16]


def digest_of_arguments(step: ActionStep) -> str:
    """Return a digest that is another one once an action has other arguments; empty for a free-form command.

    Of that nobody knows what it did.
    """
    if step.action == "command":
        return ""
    text = json.dumps(dict(step.arguments), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _terms(text: str) -> Iterator[str]:
    """Yield what ANDs join; all of it where an OR joins any."""
    depth, begin = 0, 0
    found: list[str] = []
    for token in _TOKENS.finditer(text):
        word = token[0].lower()
        depth += (word == "(") - (word == ")")
        if depth == 0 and word == "or":
            found, begin = [], 0
            break
        if depth == 0 and word == "and":
            found.append(text[begin : token.start()])
            begin = token.end()
    yield from (term.strip() for term in (*found, text[begin:]) if term.strip())


def _is_seen(term: str) -> bool:
    words = (word.lower() for word in _WORDS.findall(term) if not word.startswith("'"))
    return all(word in _KEYWORDS or word.partition(".")[0] in _SEEN for word in words)
