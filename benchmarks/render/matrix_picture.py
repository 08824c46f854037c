"""The matrix as SVG. Every kind of cell has a shape of its own: colour says nothing alone."""

from __future__ import annotations

from .matrix_tables import HEADLINE, Mark, Measured
from .svg import heading, svg, text

WIDTH = 440  # narrow, so that a phone shows it nearly at its own size
NAME = 192
LINE = 19
HEAD = 116
MARGIN = 46  # the last head leans into it
CELL = (WIDTH - NAME - MARGIN) / len(HEADLINE)

LEGEND = [
    (Mark("", "", "clean"), "none left, none dead early"),
    (Mark("", "", "leak"), "left alive: orphans"),
    (Mark("", "", "early"), "killed early, the parent lives"),
    (Mark("", "", "waits"), "parent lives on, and waits"),
    (Mark("", "", "refused"), "refused to start"),
    (Mark("", "", "leak", promised=False), "left alive, said to be so"),
    (Mark("", "", "unknown"), "not installed, not tried"),
]
#: One strategy of each kind; the tables have all.
PICTURED = (
    *("our_fork", "our_spawn", "our_forkserver", "our_pool", "our_popen", "our_preexec_fn", "our_run_subreaper"),
    *("our_tree_pidns", "our_tree_fork"),
    *("multiprocessing_fork", "multiprocessing_pool", "concurrent_futures", "subprocess_popen"),
    *("daemon_flag", "atexit_terminate", "sigterm_after", "killpg_handler", "psutil_tree"),
    *("getppid_polling", "pipe_eof_thread", "ctypes_preexec", "pdeathsig_forkserver", "billiard_process"),
    *("setpriv_pdeathsig", "unshare_kill_child", "tini_subreaper", "bwrap_die"),
    *("loky_executor", "processkit_flag", "running_process_contained", "pyreap_popen", "caoe_install"),
    "torch_processes",
)


def _shape(kind: str, x: float, y: float, ink: str) -> str:
    stroke = f'fill="none" stroke="{ink}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
    match kind:
        case "clean":
            return f'<path d="M{x - 4:.1f} {y:.1f}l3 3.2 5.4-6.6" {stroke}/>'
        case "leak":
            return f'<path d="M{x - 3.6:.1f} {y - 3.6:.1f}l7.2 7.2m0-7.2l-7.2 7.2" {stroke}/>'
        case "early":  # a dagger
            return f'<path d="M{x:.1f} {y - 5:.1f}v10m-3.4-7h6.8" {stroke}/>'
        case "refused":
            return f'<path d="M{x - 4:.1f} {y:.1f}h8" {stroke}/>'
        case "waits":
            return "".join(f'<circle cx="{x + dx:.1f}" cy="{y:.1f}" r="1.3" fill="{ink}"/>' for dx in (-4, 0, 4))
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11" fill="{ink}">?</text>'


def _cell(mark: Mark, x: float, y: float, colours: dict[str, str]) -> str:
    kind = mark.kind if mark.kind in ("clean", "leak", "early") else "waits"
    box = (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{CELL - 2:.1f}" height="{LINE - 2}" rx="3" '
        f'fill="{colours[kind]}"/>'
    )
    if not mark.promised:  # orphanguard promises nothing there: a dashed frame
        box = box.replace(
            f'fill="{colours[kind]}"', f'fill="{colours["paper"]}" stroke="{colours[kind]}" stroke-dasharray="2.5 2"'
        )
    ink = colours[kind] if not mark.promised and kind != "waits" else colours[f"{kind}-ink"]
    return box + _shape(mark.kind, x + CELL / 2, y + LINE / 2, ink)


def picture(found: list[Measured], colours: dict[str, str]) -> str:
    shown = sorted(
        (measured for measured in found if measured.name in PICTURED), key=lambda measured: not measured.ours
    )
    about = "Real parents, really killed; each cell is at least 20 of them."
    parts = heading("The parent dies: who is left?", about, colours)
    marks = [measured.mark(key) for measured in shown for key in HEADLINE]
    seen = {(mark.kind, mark.promised or mark.kind != "leak") for mark in marks}
    legend = [(mark, words) for mark, words in LEGEND if (mark.kind, mark.promised) in seen]
    y = 44.0
    for number, (mark, words) in enumerate(legend):
        x = 6 + number % 2 * (WIDTH - MARGIN) / 2
        parts += [_cell(mark, x, y, colours), text(x + 6 + CELL, y + 13, words, colours["ink"], 10.5)]
        if number % 2 or number == len(legend) - 1:
            y += LINE
    y += HEAD
    for number, title in enumerate(HEADLINE.values()):
        x = NAME + CELL * (number + 0.5)
        angle = f'transform="rotate(-63 {x:.1f} {y - 10:.1f})"'
        parts.append(text(x - 2, y - 8, title.replace("`", ""), colours["ink"], 11, more=angle))
    y -= 2 * LINE  # beside the heads' feet is room for the first group's name
    group = ""
    for measured in shown:
        if measured.group != group:
            y += 8 if group else LINE
            group = measured.group
            colour = colours["ours"] if measured.ours else colours["dim"]
            parts.append(text(6, y + 12, group, colour, 11, more='font-weight="600"'))
            parts.append(f'<path d="M6 {y + 16.5:.1f}H{WIDTH - MARGIN}" stroke="{colours["rule"]}" fill="none"/>')
            y += LINE
        name = measured.title.replace("`", "").replace("orphanguard.", "").replace(" --parent-pid", "")
        parts.append(text(12, y + 13, name, colours["ink"]))
        for number, key in enumerate(HEADLINE):
            parts.append(_cell(measured.mark(key), NAME + CELL * number, y, colours))
        y += LINE
    return svg(WIDTH, y + 6, parts, colours, "Which strategies leave orphans, by fault")
