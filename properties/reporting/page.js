"use strict";
const form = document.getElementById("filter");
const rows = [...document.querySelectorAll("#verdict-table tbody tr")];
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

function filterRows() {
  const wanted = Object.fromEntries(new FormData(form));
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const chosen = ["implementation", "dtype", "verdict"].every((key) => !wanted[key] || row.dataset[key] === wanted[key]);
    row.hidden = !(chosen && words.every((word) => texts.get(row).includes(word)));
    shown += !row.hidden;
  }
  form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
}

form.hidden = false;
form.addEventListener("input", filterRows);
form.addEventListener("submit", (event) => event.preventDefault());
filterRows();

for (const button of document.querySelectorAll("button.copy")) {
  const code = button.parentElement.querySelector("code");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      document.execCommand("copy");
    }
    button.textContent = "Copied";
  });
}
