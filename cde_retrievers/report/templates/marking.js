"use strict";

/** One cell of a TSV file, quoted where it must be. */
function cell(text) {
  return /["\t\r\n]/.test(text) ? '"' + text.split('"').join('""') + '"' : text;
}

/** Judgements in BEIR's form: data has the ids, marks are pairs of their places. */
function qrels(data, marks) {
  const rows = marks.map(([query, found]) => [cell(data.queries[query]), cell(data.documents[found]), "1"].join("\t"));
  return ["query-id\tcorpus-id\tscore", ...rows, ""].join("\n");
}

/** The marks that this browser keeps for the page, as `keep` wrote them. */
function kept(page) {
  try {
    return JSON.parse(localStorage.getItem(page)) ?? [];
  } catch {
    return [];
  }
}

/** Keep the marks in this browser, where it allows that -> whether it did. */
function keep(page, marks) {
  try {
    localStorage.setItem(page, JSON.stringify(marks));
    return true;
  } catch {
    return false;
  }
}

function begin() {
  const data = JSON.parse(document.getElementById("ids").textContent);
  const boxes = [...document.querySelectorAll("input[data-query]")];
  const save = document.getElementById("save");
  const count = document.getElementById("count");
  const page = "cde-retrievers " + data.page;
  let isSafe = true;

  function key(box) {
    return box.dataset.query + " " + box.dataset.document;
  }

  function marks() {
    const keys = new Set(boxes.filter((box) => box.checked).map(key));
    return [...keys].map((each) => each.split(" ").map(Number));
  }

  function show() {
    const answered = new Set(marks().map(([query]) => query)).size;
    count.textContent = answered + " of " + data.queries.length + " questions have a right hit.";
    save.disabled = answered === 0;
  }

  for (const box of boxes) {
    box.addEventListener("change", () => {
      // A document that several searches found is right or wrong in all of them.
      boxes.filter((other) => key(other) === key(box)).forEach((other) => { other.checked = box.checked; });
      isSafe = keep(page, marks());
      show();
    });
  }
  save.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([qrels(data, marks())], { type: "text/tab-separated-values" }));
    link.download = "marked.tsv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    isSafe = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isSafe) {
      event.preventDefault();
    }
  });
  const before = new Set(kept(page).map((each) => each.join(" ")));
  boxes.forEach((box) => { box.checked = before.has(key(box)); });
  show();
}

if (typeof document !== "undefined") {
  begin();
}
