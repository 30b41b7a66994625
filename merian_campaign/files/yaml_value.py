"""Replacing one value of a YAML file and nothing else: not a comment, not a blank."""

from __future__ import annotations

from pathlib import Path

import yaml

from merian_campaign.domain.errors import BadInputError
from merian_campaign.files.bounded_yaml import WrongYamlError, compose, construct, read_yaml_text
from merian_campaign.host.atomic_files import write_atomically


def replace_in_file(path: Path, *, key: str, value: str, shown: str) -> bool:
    """Replace the value of a key at the top of a YAML file, atomically.

    Parameters
    ----------
    path : `pathlib.Path`
        The file; where it is a link, what it leads to.
    key : `str`
        The key.
    value : `str`
        The new value, as YAML on one line.
    shown : `str`
        Path as the person gave it.

    Returns
    -------
    changed : `bool`
        Whether the file had another value before.

    Raises
    ------
    BadInputError
        Raised if the value cannot be told exactly from the rest; the file is as it was.
    """
    target = path.resolve()
    text = read_yaml_text(target, shown=shown)
    try:
        changed = replaced(text, key=key, value=value)
    except ValueError as error:
        raise BadInputError(f"{shown}: {key}: {error}; put this there by hand:  {key}: {value}") from None
    if changed == text:
        return False
    mode = target.stat().st_mode & 0o777
    write_atomically(target, changed)
    target.chmod(mode)
    return True


def replaced(text: str, *, key: str, value: str) -> str:
    """Return YAML text with another value for a key at its top; see `replace_in_file`.

    Raises
    ------
    ValueError
        Raised if that cannot be done exactly, with the reason.
    """
    try:
        before = _loaded(text)
        # PyYAML's own composer, whose marks are exact to the character: the text is small and shallow.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (WrongYamlError, yaml.YAMLError):
        raise ValueError("the file is not readable as YAML") from None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ValueError("the file is not one mapping with a key a line")
    found = [(name, node) for name, node in root.value if name.value == key]
    if len(found) != 1:
        raise ValueError("there is no such key" if not found else "the key is there twice")
    name, node = found[0]
    start, end = node.start_mark.index, _end(node)
    between, old = text[name.end_mark.index : start], text[start:end]
    if "#" in old or "#" in between:
        raise ValueError("there are comments inside its value, which would be lost")
    if between.strip() != ":" or not old or old[0] in "&*!|>":
        raise ValueError("its value is empty, an alias, has an anchor or a tag, or runs over lines of text")
    # A list of lines with dashes begins on the next line; what replaces it stands behind the key.
    start = name.end_mark.index + text[name.end_mark.index : start].index(":") + 1
    made = f"{text[:start]} {value}{text[end:]}"
    _check(before, made, key=key, value=value)
    return made


def _end(node: yaml.Node) -> int:
    """Return where a value ends: that of a list with dashes where its last entry does."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _check(before: object, made: str, *, key: str, value: str) -> None:
    """Make sure that the new text says what it should, and nothing else has changed."""
    try:
        after = _loaded(made)
    except WrongYamlError:
        after = None
    assert isinstance(before, dict)
    if after != {**before, key: _loaded(value)}:
        raise ValueError("its value cannot be told exactly from the rest of the file")


def _loaded(text: str) -> object:
    root = compose(text)
    return None if root is None else construct(root)
