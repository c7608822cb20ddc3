"""Whatever is said, it stays text."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import expect

from tests.web.browsing import OpenTab, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload=window.hacked=1><a xlink:href=javascript:window.hacked=1>x</a></svg>",
    "<iframe srcdoc='<script>top.hacked = 1</script>'></iframe>",
    "<style>* { display: none }</style>",
    '<a href="javascript:window.hacked=1">click</a>',
    "[click](javascript:window.hacked=1)",
    "[click](&#106;avascript:window.hacked=1)",
    "[click](java\tscript:window.hacked=1)",
    "[click](<JaVaScRiPt:window.hacked=1>)",
    "[click](data:text/html,<script>window.hacked=1</script>)",
    "[click](vbscript:x) [click](file:///etc/passwd) [click](/readyz) [click](//evil.example)",
    "![seen](https://evil.example/pixel.png) ![x](javascript:window.hacked=1)",
    "<javascript:window.hacked=1>",
    '[click](https://example.com "onmouseover=window.hacked=1")',
    "[ref]\n\n[ref]: javascript:window.hacked=1",
    r"$\href{javascript:window.hacked=1}{x}$ $\htmlData{x=1}{y}$ $\includegraphics{x.png}$",
    r"$$\def\x{\x\x}\x$$",
    '```"><script>window.hacked=1</script>\n<b>code</b>\n```',
    "| <b>a</b> | <script>window.hacked=1</script> |\n|---|---|\n| <i onclick=x>1</i> | 2 |",
    "\u202eright to left\u202c \u0000 \ud7ff \ufffe",
    "> " * 500 + "deep",
    "- " * 500 + "deep",
    "[" * 3000,
    "_a*b" * 3000,
    "`" * 2000 + "\n" + "<" * 2000,
    "$a" * 3000 + r"\(" * 2000,
]


async def test_hostile_markdown_and_html_stay_text(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    for place, text in enumerate(HOSTILE):
        world.answer(text, f"\n\nThe end of {place}.")
        await tab.say(text)
        await expect(tab.answers.last).to_contain_text(f"The end of {place}.")
        await expect(tab.button("Stop")).to_have_count(0)
        links = await tab.conversation.locator("a").evaluate_all(
            "all => all.map(a => [a.protocol, a.target, a.rel])"
        )
        for protocol, target, rel in links:
            assert protocol in ("http:", "https:", "mailto:"), text
            assert target == "_blank"
            assert "noopener" in rel
        bad = "script, style, iframe, img, svg:not(.icon, .katex *), object, embed, form, [onclick]"
        assert await tab.conversation.locator(bad).count() == 0, text
    assert await tab.page.evaluate("window.hacked") is None
    assert all(
        url.startswith((world.app.url, world.app.url.replace("http", "ws"))) for url in asked
    )
    title = tab.chats.get_by_role("link", name=HOSTILE[0])
    await expect(title).to_be_visible()


async def test_markdown_is_drawn_and_html_shown(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    world.answer(
        "# Title\n\nA **bold** and <b>plain</b> [link](https://example.com/a?b=c&amp;d)"
        " &lt;i&gt;.\n\n"
        "| a | b |\n|---|--:|\n| 1 | 2 |\n\n"
        "```python\ndef f(): return 1\n```\n\n"
        r"Inline \(e^{i\pi}\), and $5 or $6." + "\n\n$$\n\\int_0^1 x\\,dx\n$$\n\n"
        # What KaTeX would set style attributes for, which the page's policy forbids.
        r"$\vec{v}$ $\fcolorbox{red}{yellow}{x}$ $\pmb{y}$"
        "\n\n$$\n\\begin{vmatrix}" + r" a \\" * 8 + "\\end{vmatrix}\n$$\n"
    )
    await tab.say("Show me.")
    answer = tab.answers.first
    await expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    await expect(answer.locator("strong")).to_have_text("bold")
    await expect(answer).to_contain_text("<b>plain</b>")
    await expect(answer).to_contain_text("<i>.")
    link = answer.get_by_role("link", name="link")
    await expect(link).to_have_attribute("href", "https://example.com/a?b=c&d")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(answer.get_by_role("cell", name="2")).to_have_attribute("data-align", "right")
    await expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    await expect(answer.locator(".katex-display .katex-html")).to_have_count(2)
    await expect(answer.locator(".katex")).to_have_count(6)
    arrow = answer.locator(".katex .accent-body svg")
    assert await arrow.evaluate("svg => svg.style.width") == "0.471em"
    await expect(answer).to_contain_text("$5 or $6")
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await answer.get_by_role("button", name="Copy code").click()
    await expect(answer.get_by_role("button", name="Copied")).to_be_visible()
    assert await tab.page.evaluate("navigator.clipboard.readText()") == "def f(): return 1"


async def test_what_would_take_long_to_read_is_shown_at_once(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    world.answer("*a **b _c [d](" * 2000 + "\n\nThe end.")
    begun = time.monotonic()
    await tab.say("Go on.")
    await expect(tab.answers).to_contain_text(["The end."])
    await expect(tab.button("Stop")).to_have_count(0)
    assert time.monotonic() - begun < 8
