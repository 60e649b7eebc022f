"""How the page of a report looks, and how its table is sorted: for phones, dark rooms, paper and readers."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--text:#1b1b1b;--back:#fff;--line:#767676;--soft:#f2f2f2;--link:#0b5394}
@media (prefers-color-scheme:dark){
:root{--text:#ececec;--back:#16181c;--line:#8c8c8c;--soft:#24272e;--link:#8ec7ff}}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.2rem 1rem}
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.3rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
thead{background:var(--soft)}
th button{font:inherit;font-weight:600;color:var(--link);background:none;border:0;padding:0;cursor:pointer}
figure{margin:1rem 0}
figure svg{max-width:100%;height:auto;background:#fff;border-radius:4px}
figcaption{font-size:.9rem}
@media (max-width:30rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
@media print{.wide{overflow:visible}th button{color:inherit}section{break-inside:avoid-page}}
"""

TABLE_SCRIPT = """
document.querySelectorAll('#components th button').forEach((button, column) => {
  let down = true;
  button.addEventListener('click', () => {
    const body = document.querySelector('#components tbody');
    const value = row => Number(row.children[column].dataset.value);
    const rows = [...body.rows].sort((a, b) => down ? value(a) - value(b) : value(b) - value(a));
    document.querySelectorAll('#components thead th').forEach(head => head.removeAttribute('aria-sort'));
    button.parentElement.setAttribute('aria-sort', down ? 'ascending' : 'descending');
    down = !down;
    body.append(...rows);
  });
});
"""
