"""Page of an audit: one HTML file that works without a network, for readers of any trade."""

from html import escape

from fftune.auditing.bars import MEANING
from fftune.auditing.record import AuditRecord, Finding
from fftune.auditing.sentences import (
    NAMES,
    WORD,
    ball,
    beyond_this_set,
    told_bar,
    told_battery,
    told_certified,
    told_share,
    told_signature,
)
from fftune.report.html_document import html_document

MARK = 0.4
"""Least width of the dark bar, in percent of the scale: that of an exact count."""
SIGN = {"pass": "✓", "fail": "✕", "inconclusive": "?"}
STYLE = """
:root { --pass: #17693a; --fail: #a3201d; --inconclusive: #7a5200; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2024; max-width: 54rem; margin: 0 auto;
       padding: 1rem 1.25rem 3rem; }
header { border-radius: .6rem; padding: 1.1rem 1.4rem; color: #fff; margin: .5rem 0 1.25rem; }
header.pass { background: var(--pass); } header.fail { background: var(--fail); }
header.inconclusive { background: var(--inconclusive); }
header h1 { margin: 0; font-size: 2rem; line-height: 1.15; }
header p { margin: .35rem 0 0; font-size: 1.1rem; }
.subject { color: #4a5157; margin: 0 0 1.25rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.bar { border: 1px solid #d5dade; border-left-width: .4rem; border-radius: .4rem;
       padding: .8rem 1.1rem; margin: .8rem 0; }
.bar.pass { border-left-color: var(--pass); } .bar.fail { border-left-color: var(--fail); }
.bar.inconclusive { border-left-color: var(--inconclusive); }
.bar h3 { margin: 0; font-size: 1.05rem; }
.bar p { margin: .35rem 0; }
.badge { float: right; font-weight: 700; font-size: .9rem; padding: .05rem .55rem;
         border-radius: .3rem; color: #fff; margin-left: .6rem; }
.badge.pass { background: var(--pass); } .badge.fail { background: var(--fail); }
.badge.inconclusive { background: var(--inconclusive); }
.meaning, .small { color: #4a5157; font-size: .92rem; }
.gauge { position: relative; margin: .6rem 0; padding-top: 1.5rem; font-size: .85rem;
         color: #4a5157; }
.asked { position: absolute; top: 0; padding: 0 .35rem; color: #1c2024; white-space: nowrap; }
.scale { position: relative; height: 1.1rem; background: #f6dedd; border-radius: .2rem; }
.scale i { position: absolute; top: 0; bottom: 0; }
.allowed { background: #d3ead9; } .bounds { background: #26323b; border-radius: .2rem; }
.scale .bounds { top: -.2rem; bottom: -.2rem; }
.scale .line { top: -1.3rem; bottom: -.3rem; border-left: 2px dashed #1c2024; }
.ticks { display: flex; justify-content: space-between; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .5rem 1rem; } }
.warn { background: #fff4de; border-left: .4rem solid #b87b00; padding: .6rem 1rem; }
code, pre { font-size: .85rem; overflow-wrap: anywhere; }
pre { background: #f4f6f8; padding: 1rem; overflow-x: auto; white-space: pre-wrap; }
footer { color: #4a5157; margin-top: 2rem; font-size: .9rem; }
"""


def page(record: AuditRecord) -> str:
    """The audit as a file of HTML."""
    title = f"{WORD[record.outcome]}: audit of {record.model.name}"
    parts = (summary(record), _looked_at(record), _reading(record), _details(record))
    body = "\n".join(parts).replace(" %", "\N{NO-BREAK SPACE}%")
    return html_document(title, STYLE, body)


def summary(record: AuditRecord) -> str:
    """Verdict and bars, without the head of a page."""
    data = record.data
    subject = (
        f"Audit of the net <b>{escape(record.model.name)}</b> on {data.n:,} images of "
        f"<b>{escape(data.name)}</b> ({data.split}): may it go out, by the bars below?"
    )
    bars = "\n".join(map(_bar, record.findings))
    return (
        f'<p class="subject">{subject}</p>\n'
        f'<header class="{record.outcome}"><h1>{SIGN[record.outcome]} {WORD[record.outcome]}</h1>'
        f"<p>{escape(_said(record))}</p></header>\n{_signed(record)}\n{bars}"
    )


def _said(record: AuditRecord) -> str:
    """The verdict without its first word, which stands above it, and the finding that decides."""
    said = _capital(record.sentence.removeprefix(WORD[record.outcome]).lstrip(": "))
    decisive = [one for one in record.findings if one.outcome == record.outcome]
    return f"{said} {decisive[0].sentence}" if record.outcome != "pass" else said


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bar(finding: Finding) -> str:
    name = NAMES[finding.measure].capitalize()
    badge = f'<span class="badge {finding.outcome}">{WORD[finding.outcome]}</span>'
    lines = [
        f"<h3>{badge}{name}: {told_bar(finding)}</h3>",
        f'<p class="meaning">{escape(_capital(MEANING[finding.measure]))}.</p>',
        _gauge(finding),
        f"<p>{escape(finding.sentence)}{_finders(finding)}</p>",
    ]
    if bound := told_certified(finding):
        lines.append(f"<p>Certified, whatever the attack: {bound}.</p>")
    if finding.unexcluded:
        lines.append(f'<p class="small"><b>Not excluded:</b> {escape(finding.unexcluded)}.</p>')
    if said := beyond_this_set(finding):
        lines.append(f'<p class="small">{escape(_capital(said))}.</p>')
    return f'<section class="bar {finding.outcome}">{"".join(lines)}</section>'


def _finders(finding: Finding) -> str:
    """Attacks that found it, as in " Found by pgd-20 (31; 6,400 passes)."."""
    if not finding.found_by:
        return ""
    each = (f"{one.attack} ({one.count:,}; {one.passes:,} passes)" for one in finding.found_by)
    return escape(f" Found by {', '.join(each)}.")


def _gauge(finding: Finding) -> str:
    """Drawing of the bounds and the bar on a scale of 0 to 100 %."""
    if not finding.denominator:
        return ""
    low, high, bar = (100 * share for share in (finding.low, finding.high, finding.bar))
    allowed = (0.0, bar) if finding.at_most else (bar, 100 - bar)
    shown = max(high - low, MARK)
    begin = min(max((low + high - shown) / 2, 0.0), 100 - shown)
    label = f"{NAMES[finding.measure]}: {told_share(finding)}; {told_bar(finding)}"
    at = f"left:{bar:.2f}%" if bar < 50 else f"right:{100 - bar:.2f}%"
    return (
        f'<div class="gauge" role="img" aria-label="{escape(label)}">'
        f'<span class="asked" style="{at}">{told_bar(finding)}</span><div class="scale">'
        f'<i class="allowed" style="left:{allowed[0]:.2f}%;width:{allowed[1]:.2f}%"></i>'
        f'<i class="bounds" style="left:{begin:.2f}%;width:{shown:.2f}%"></i>'
        f'<i class="line" style="left:{bar:.2f}%"></i></div>'
        f'<div class="ticks"><span>0 %</span><span>50 %</span><span>100 %</span></div></div>'
    )


def _looked_at(record: AuditRecord) -> str:
    model, data, battery = record.model, record.data, record.battery
    attacks = f"{told_battery(battery)}: {', '.join(battery.attacks)}"
    weights = f"; SHA-256 of {model.weights}: {model.weights_sha256}" if model.weights else ""
    code = f"; code {model.code}" if model.code else "; in memory, so that its code is not known"
    rows = {
        "Net": f"{model.name}, hash of its parameters {model.hash}{weights}{code}",
        "Images": f"{data.name}, {data.split}: {data.n:,} of {data.available:,}, of which the net "
        f"gets {data.wrong:,} wrong; hash of images and labels {data.hash}",
        "Attackers": f"may change {ball(record.threat)}",
        "Attacks": f"{attacks if battery.attacks else 'none were needed'}; hash of all their "
        f"settings {battery.hash}",
        "Error": f"a wrong PASS, and a wrong FAIL, have a probability of at most "
        f"{100 * record.alpha:g} % each, of all bars together, whenever the audit stops",
        "Run": f"fftune {record.fftune}, {record.created}, seed {record.seed} of the draw and of "
        f"the attacks, {battery.device}, blocks of {battery.block_size}",
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())
    return f"<h2>What was looked at</h2>\n<dl>{items}</dl>"


def _signed(record: AuditRecord) -> str:
    said = escape(_capital(told_signature(record.data.signature)))
    return f'<p class="{"warn" if record.data.signature is None else "small"}">{said}.</p>'


def _reading(record: AuditRecord) -> str:
    lines = [
        "The dark stripe is where the figure of <b>this set of images</b> lies, a thin one an "
        "exact count; the dashed line is the bar, and the green side is what it allows. A bar is "
        "kept to if all of the stripe is on the green side, broken if none of it is, else "
        "undecided.",
        "A <b>false friend</b> is somebody who changes an image so little that nobody sees it, "
        "so that the net gets it right although it would not by itself: the mistake is "
        "<b>concealed</b>, and the net's score looks better than it is. An <b>adversary</b> does "
        "the opposite. D are all images, D+ those that the net gets right as they are, D- its "
        "mistakes.",
        f"<b>Beyond this set</b> is a second claim, at {100 * (1 - record.alpha):g} %, about "
        "images that this set is a random sample of. The verdict does not rest on it: it is on "
        "this set alone.",
        "What attacks find is a <b>lower bound</b> of a risk: others may find more. A PASS is "
        "against the attacks named here; only a certified bound holds against all.",
    ]
    drawn = any(not finding.exact for finding in record.findings)
    if drawn:
        lines.append(
            "Attacked examples are drawn at random, and the audit stops once every bar is "
            "decided. Its bounds hold at whatever moment it stops (confidence sequence for "
            "sampling without replacement). Cheap attacks go first, and each is asked what those "
            "before it have left, so that the last ones may have had nothing to do."
        )
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<h2>How to read this</h2><ul>{items}</ul>"


def _details(record: AuditRecord) -> str:
    remarks = "".join(f"<li>{escape(line)}</li>" for line in record.remarks)
    said = f"<h2>Remarks on the net and the attacks</h2><ul>{remarks}</ul>" if remarks else ""
    command = f"<p>Again: <code>{escape(record.command)}</code></p>" if record.command else ""
    return (
        f"{said}<h2>To do it again</h2>{command}<details><summary>The whole record (JSON)</summary>"
        f"<pre>{escape(record.json)}</pre></details><footer>fftune {record.fftune}</footer>"
    )
