"""Caption cleaning of DeepFloyd IF and PixArt-alpha: models trained on cleaned captions want prompts cleaned alike.

The rules and their order are facts of the originals (deep-floyd/IF, deepfloyd_if/modules/t5.py; Open-Sora-Plan v1.0,
opensora/utils/utils.py): cleaned text must be the same to the letter, odd rules included.
"""

from __future__ import annotations

import html
import re
import urllib.parse

import ftfy

from videogen_cli.data.html_text import html_text

_Rules = tuple[tuple[re.Pattern[str], str], ...]

_ADDRESS = r"|[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b/?(?!@)"
_FILES = "(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)"
_DASHES = (
    r"[\u002D\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40"
    r"\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63\uFF0D]+"
)


def _rules(*table: tuple[str, str]) -> _Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in table)


_ADDRESSES = _rules(
    (r"<person>", "person"),
    (rf"\b(?:https?:(?:/{{1,3}}|[a-zA-Z0-9%]){_ADDRESS})", ""),
    (rf"\b(?:www:(?:/{{1,3}}|[a-zA-Z0-9%]){_ADDRESS})", ""),
)
_CHARACTERS = _rules(
    (r"@\w+\b", ""),  # nicknames
    (r"[\u31c0-\u9fff]+", ""),  # Chinese and Japanese, without kana and punctuation
    (_DASHES, "-"),
    ("[`´«»“”¨]", '"'),
    ("[‘’]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # internet addresses
    (r"\d:\d\d\s+$", ""),  # numbers of articles
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"\S+\.{_FILES}", ""),
    (r"[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~)(\]\[}{|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
_WORDS = _rules(
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # jc6640
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),  # jc6640vc
    (r"\b\d+[a-zA-Z]+\d+\b", ""),  # 6640vc231
    (r"(worldwide\s+)?(free\s+)?shipping", ""),
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b{_FILES}(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),  # j2d1a2a
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),  # sizes, with three kinds of cross
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"']([\w\W]+)[\"']$", r"\1"),
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)
_JOINTS = re.compile("[-_]")
_MOST_JOINTS = 3


def clean_caption(text: str, *, strip: bool = True) -> str:
    """Clean a caption twice, as in training; the original's sampling does not ``strip`` between two of its rules."""
    return _clean_once(_clean_once(text, strip), strip)


def plain_caption(text: str) -> str:
    """Return a caption in lower case, which is all that is done to it without cleaning."""
    return text.lower().strip()


def _clean_once(text: str, strip: bool) -> str:
    text = _apply(_ADDRESSES, urllib.parse.unquote_plus(text).strip().lower())
    text = _apply(_CHARACTERS, html_text(text))
    if len(_JOINTS.findall(text)) > _MOST_JOINTS:  # this-is-my-cute-cat
        text = _JOINTS.sub(" ", text)
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return _apply(_WORDS, text.strip() if strip else text).strip()


def _apply(rules: _Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
