// Body of an asynchronous function of the window and the document of a page, see browser.py.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const form = document.getElementById("filter");
const shown = () => all("#verdict-table tbody tr").filter((row) => row.getBoundingClientRect().height > 0);
const choose = (name, value) => {
  form.elements[name].value = value;
  form.elements[name].dispatchEvent(new window.Event("input", { bubbles: true }));
  return { rows: shown().map((row) => row.dataset.verdict), text: form.querySelector("output").textContent };
};
const rows = shown().length;
const broken = choose("verdict", "BROKEN");
choose("verdict", "");
const searched = choose("text", "error of the energy float16");
const nothing = choose("text", "no such words");
const again = choose("text", "");
const closed = all("details:not([open])").length;
all("details").forEach((d) => (d.open = true));
const plots = all("svg.plot");
const figures = plots.map((svg) => svg.getBoundingClientRect()).map((box) => [box.width, box.height]);
const drawn = (mark) => mark.getBoundingClientRect().width + mark.getBoundingClientRect().height > 0;
const inked = plots.map((svg) => all("path, use", svg).filter(drawn).length);
const background = window.getComputedStyle(document.body).backgroundColor;
const free = all("body *").filter((element) => !element.closest(".scroll, pre, svg"));
const wide = free.filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 80));
const button = document.querySelector("button.copy");
button.click();
await new Promise((resolve) => window.setTimeout(resolve, 50));
const lost = (href) => document.getElementById(decodeURIComponent(href.slice(1))) === null;
const links = all("a[href^='#']").map((a) => a.getAttribute("href")).filter(lost);
const styles = all("svg.plot [style]").map((element) => window.getComputedStyle(element));
const colours = new Set(styles.flatMap((style) => [style.fill, style.stroke]));
return {
  rows, broken, searched, nothing, again, closed, figures, inked, wide, background, links,
  traces: all("#trace-table tbody tr").length,
  button: button.textContent,
  selected: window.getSelection().toString(),
  code: button.parentElement.querySelector("code").textContent,
  overflow: document.documentElement.scrollWidth - window.innerWidth,
  colours: [...colours],
  sections: all("section").map((section) => section.id),
  names: all("[role=img], [role=region], nav, pre").map((e) => e.getAttribute("aria-label")),
  headers: all("table").map((table) => ["thead th[scope=col]", "tbody tr:first-child > *"].map((cells) => all(cells, table).length)),
};
