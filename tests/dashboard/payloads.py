"""Texts that become programs where a page takes them for markup; and how to see that none did.

Each would open a dialog, break the page's policy, or leave an element behind: the first two are seen by
`watched`, the last by `inert`.
"""

from playwright.sync_api import Page

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<svg onload=alert(3)>",
    "<svg><script>alert(4)</script></svg>",
    "<iframe src=javascript:alert(5)></iframe>",
    '<iframe srcdoc="<script>parent.alert(6)</script>"></iframe>',
    "<body onload=alert(7)>",
    "<input autofocus onfocus=alert(8)>",
    "<details open ontoggle=alert(9)>",
    "<video><source onerror=alert(10)></video>",
    "<a href=javascript:alert(11)>here</a>",
    "javascript:alert(12)",
    '"><img src=x onerror=alert(13)>',
    "'><img src=x onerror=alert(14)>",
    "`><img src=x onerror=alert(15)>",
    "</title><script>alert(16)</script>",
    "</textarea><script>alert(17)</script>",
    "</script><script>alert(18)</script>",
    "<style>@import 'javascript:alert(19)';</style>",
    '<div style="background:url(javascript:alert(20))">',
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(21)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(22)>'>",
    "<form action=javascript:alert(23)><button autofocus>x</button></form>",
    "<object data=javascript:alert(24)></object>",
    "<embed src=javascript:alert(25)>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(26)'>",
    "<base href=https://elsewhere.example/>",
    "{{constructor.constructor('alert(28)')()}}",
    "${alert(29)}",
    "&lt;script&gt;alert(30)&lt;/script&gt;",
    "<link rel=stylesheet href=//elsewhere.example/x.css>",
    '{"__html":"<img src=x onerror=alert(32)>"}',
    "\u202e<img src=x onerror=alert(33)>\u2066",
]

_FOREIGN = """() => [
  ...document.querySelectorAll(
    '[onerror],[onload],[onfocus],[ontoggle],[srcdoc],iframe,object,embed,base,math,video,meta[http-equiv],' +
    'body script,a[href^="javascript:"],form[action^="javascript:"],main style,svg script'
  ),
].map((one) => one.outerHTML.slice(0, 200))"""


def inert(page: Page) -> None:
    """See that no payload on the page has become an element."""
    assert page.evaluate(_FOREIGN) == []
