"""Rules of caption cleaning that are easy to get wrong, and the text of HTML."""

import pytest

from videogen_cli.data.captions import clean_caption, plain_caption
from videogen_cli.data.html_text import html_text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("A <b>bold</b> Claim &amp; more", "a bold claim more"),
        ("see https://www.example.com/x now", "see now"),
        ("a-b-c-d-e", "a b c d e"),  # more than three hyphens
        ("a-b-c", "a-b-c"),
        ("在公园 a man", "a man"),
        ("“smart” ‘quotes’ — dash", "\"smart\" 'quotes' - dash"),
        ("cat.jpg by @me #12 1234567", "by"),
        ("'whole'", "whole"),
        ("wait... what", "wait what"),
        ("3x4 metres", "metres"),
        ("plus+sign%20here", "plus sign here"),
        ("", ""),
    ],
)
def test_clean(raw, clean):
    assert clean_caption(raw) == clean


def test_plain():
    assert plain_caption("  A <b>Cat</b> ") == "a <b>cat</b>"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a < b & c", "a < b & c"),
        ("x<!-- no -->y", "xy"),
        ("x<script>no</script>y<style>no</style>", "xy"),
        ("<p>one<p>two", "onetwo"),
        ("&lt;b&gt;&eacute;&nosuch;", "<b>é&nosuch"),
        ("&#8217;&#x2014;&#146;", "’—’"),
        ("&#129;&#99999999;", "\x81\N{REPLACEMENT CHARACTER}"),
        ("<template>no<b>no</b></template>yes", "yes"),
        ("</b>stray", "stray"),
    ],
)
def test_html(markup, text):
    assert html_text(markup) == text
