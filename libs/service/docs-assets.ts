/** Style of /docs. */
export const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#5b6570;--line:#d8dee4;--card:#f6f8fa;
--accent:#0b62c4;--get:#1a6e3c;--post:#0b62c4;--delete:#b3261e;--code:#eef1f4}
@media(prefers-color-scheme:dark){:root{--bg:#0f1317;--fg:#e4e8ec;--soft:#98a3ae;--line:#2b333b;
--card:#171c22;--accent:#6db3ff;--get:#5fd08b;--post:#6db3ff;--delete:#ff8a80;--code:#20272e}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
a{color:var(--accent)}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.page{display:grid;grid-template-columns:15rem minmax(0,1fr);max-width:78rem;margin:0 auto}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:1.5rem 1rem;
border-right:1px solid var(--line)}
nav h1{font-size:1.15rem;margin:0}
nav ul{list-style:none;margin:.25rem 0 1rem;padding:0}
nav li a{display:block;padding:.1rem 0;text-decoration:none}
nav li a:hover{text-decoration:underline}
input{width:100%;margin:1rem 0;padding:.4rem .6rem;border:1px solid var(--line);border-radius:6px;
background:var(--card);color:inherit;font:inherit}
main{padding:1.5rem 2rem 6rem}
h2{margin:2.5rem 0 .75rem;font-size:1.3rem}
section:first-of-type h2{margin-top:1.5rem}
h3{margin:1.25rem 0 .4rem;font-size:.8rem;text-transform:uppercase;letter-spacing:.06em;
color:var(--soft)}
details{border:1px solid var(--line);border-radius:8px;margin:.4rem 0;background:var(--card)}
details[open]{background:var(--bg)}
summary{display:flex;gap:.75rem;align-items:baseline;padding:.5rem .8rem;cursor:pointer;
list-style:none;flex-wrap:wrap}
summary::-webkit-details-marker{display:none}
summary:focus-visible,a:focus-visible,input:focus-visible,button:focus-visible{
outline:2px solid var(--accent);outline-offset:1px}
.method{min-width:4.2rem;font-weight:700;font-family:ui-monospace,monospace;font-size:13px}
.get{color:var(--get)}.post{color:var(--post)}.delete{color:var(--delete)}
.path{font-weight:600}
.what{color:var(--soft)}
.inside{padding:0 .9rem 1rem;border-top:1px solid var(--line);overflow-x:auto}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;
border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft);font-size:13px}
.fields td:first-child{padding-left:calc(var(--d)*1.2rem);white-space:nowrap;width:30%}
.fields td:nth-child(2){width:35%;overflow-wrap:anywhere}
.fields td:last-child{color:var(--soft);font-size:14px}
.required,.optional{font-size:11px;font-weight:600;color:var(--delete)}
.optional{color:var(--soft)}
pre{position:relative;background:var(--code);padding:.7rem 4.5rem .7rem .9rem;border-radius:6px;overflow-x:auto;
white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}
td code,p code{background:var(--code);padding:.05rem .3rem;border-radius:4px}
button{position:absolute;top:.4rem;right:.4rem;font:12px system-ui;padding:.15rem .5rem;
border:1px solid var(--line);border-radius:5px;background:var(--bg);color:inherit;cursor:pointer}
.note,.or{color:var(--soft);font-size:14px;margin:.3rem 0}
[hidden]{display:none!important}
@media(max-width:52rem){.page{grid-template-columns:1fr}nav{position:static;max-height:none;
border-right:0;border-bottom:1px solid var(--line)}nav ul{display:flex;flex-wrap:wrap;gap:0 1rem}
main{padding:1rem}.fields td:first-child{white-space:normal}}
`;

/** Behaviour of /docs: filter, copy, and the real address in the examples. Works without it too. */
export const SCRIPT = `
const all = (selector) => [...document.querySelectorAll(selector)];
for (const place of all('[data-origin]')) place.textContent = location.origin;
for (const block of all('pre')) {
  const button = document.createElement('button');
  button.textContent = 'Copy';
  button.onclick = async () => {
    await navigator.clipboard.writeText(block.firstChild.textContent);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  };
  block.append(button);
}
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener('hashchange', open);
open();
document.querySelector('input').oninput = (event) => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const item of all('[data-text]')) {
    item.hidden = !words.every((word) => item.dataset.text.includes(word));
  }
  for (const section of all('main section')) {
    section.hidden = !section.querySelector('[data-text]:not([hidden])');
  }
};
`;
