// The table of sequences or objects: sortable by any column, filtered by name, operated by mouse or keyboard.

const table = {
  rows: "sequences", // or "objects"
  filter: "",
  baseline: Math.max(0, DATA.runs.findIndex((run) => run.policy === "fifo")), // the run that others are compared with
  column: null, // key of the column to sort by; null: the split's order
  descending: false,
};

/** Returns a row for each sequence, or for each object of each sequence. */
function tableRows() {
  return DATA.sequences.flatMap((sequence, order) => {
    const objects = table.rows === "objects" ? sequence.objects : [null];
    return objects.map((object) => ({
      sequence,
      object,
      order,
      figures: DATA.runs.map((_, run) => figuresOf(sequence, run, object)),
    }));
  });
}

/** Returns the columns, each with a key, a heading, the value to sort by, and how to show it. */
function tableColumns() {
  const [key, head, number] = table.rows === "objects"
    ? ["object", "Id", (row) => row.object]
    : ["objects", "Objects", (row) => row.sequence.objects.length];
  const name = (row) => row.sequence.name;
  const columns = [
    { key: "name", head: "Name", group: "", value: name, show: name },
    { key, head, group: "", value: number, show: (row) => String(number(row)) },
  ];
  for (const figure of ["second", "j"]) {
    const value = (run) => (row) => row.figures[run][figure];
    DATA.runs.forEach((run, index) => columns.push({
      key: `${figure}-${index}`, head: run.name, run: index, group: figure, value: value(index), show: (row) => percent(value(index)(row)),
    }));
    DATA.runs.forEach((run, index) => {
      if (index === table.baseline) return;
      const change = (row) => minus(value(index)(row), value(table.baseline)(row));
      const head = DATA.runs.length === 2 ? "Δ" : `Δ ${run.name}`;
      const title = `${run.name} minus ${DATA.runs[table.baseline].name}`;
      columns.push({ key: `${figure}-d${index}`, head, title, group: figure, value: change, show: (row) => difference(change(row)) });
    });
  }
  return columns;
}

function showTable() {
  const columns = tableColumns();
  const sorted = columns.find((column) => column.key === table.column);
  if (!sorted) table.column = null;
  const all = tableRows();
  const words = table.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = all.filter((row) => words.every((word) => row.sequence.name.toLowerCase().includes(word)));
  if (sorted) rows.sort((a, b) => compare(sorted.value(a), sorted.value(b), table.descending) || a.order - b.order);
  const body = h("tbody", {}, rows.map((row) => tableRow(row, columns)));
  if (!rows.length) body.append(h("tr", {}, h("td", { class: "empty", colspan: columns.length }, "No name matches.")));
  document.getElementById("table").replaceChildren(tableHead(columns), body);
  const shown = rows.length === all.length ? "" : `${rows.length} of `;
  document.getElementById("count").textContent = shown + count(all.length, table.rows.slice(0, -1));
  markChosenRow();
}

/** Returns the class that draws a line before a column that begins a group; null for other columns. */
function edgeClass(columns, index) {
  const { group } = columns[index];
  return group && group !== columns[index - 1].group ? "edge" : null;
}

/** Compares values; rows without a value come last in both directions. */
function compare(a, b, descending) {
  if (a == null || b == null) return (a == null) - (b == null);
  const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  return descending ? -order : order;
}

function tableHead(columns) {
  const groups = [];
  for (const column of columns) {
    if (groups.at(-1)?.name === column.group) groups.at(-1).span += 1;
    else groups.push({ name: column.group, span: 1 });
  }
  const names = { second: secondName(), j: ["J"], "": [] };
  return h("thead", {},
    h("tr", {}, groups.map((group) => h(group.name ? "th" : "td", {
      colspan: group.span,
      scope: group.name ? "colgroup" : null,
      class: group.name ? "edge" : null,
    }, names[group.name]))),
    h("tr", {}, columns.map((column, index) => h("th", {
      scope: "col",
      class: edgeClass(columns, index),
      "aria-sort": column.key === table.column ? (table.descending ? "descending" : "ascending") : null,
    }, h("button", { type: "button", title: column.title ?? column.head, "data-column": column.key, click: () => sortBy(column.key) },
      column.run == null ? null : swatch(column.run), column.head)))));
}

/** The first click sorts in ascending order, the second descending, the third restores the split's order. */
function sortBy(key) {
  if (table.column !== key) [table.column, table.descending] = [key, false];
  else if (!table.descending) table.descending = true;
  else [table.column, table.descending] = [null, false];
  showTable();
  document.querySelector(`#table [data-column="${key}"]`)?.focus();
}

function tableRow(row, columns) {
  const choose = () => chooseRow(row);
  return h("tr", { tabindex: -1, "data-name": row.sequence.name, "data-object": row.object, click: choose, keydown: rowKey(choose) },
    columns.map((column, index) => h("td", { class: edgeClass(columns, index), title: index ? null : row.sequence.name }, column.show(row))));
}

/** Enter and space choose; the arrows, Home and End move. */
function rowKey(choose) {
  return (event) => {
    const rows = [...event.currentTarget.parentElement.children];
    const next = target(event.key, "ArrowUp", "ArrowDown", rows.indexOf(event.currentTarget), rows.length);
    if (event.key === "Enter" || event.key === " ") choose();
    else if (next !== undefined) focusRow(rows, rows[next]);
    else return;
    event.preventDefault();
  };
}

function markChosenRow() {
  const rows = [...document.querySelectorAll("#table tbody tr[data-name]")];
  const isChosen = (row) => row.dataset.name === chosen.sequence?.name
    && (row.dataset.object === undefined || chosen.object == null || Number(row.dataset.object) === chosen.object);
  for (const row of rows) {
    row.tabIndex = -1;
    if (isChosen(row)) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  const first = rows.find(isChosen) ?? rows[0];
  if (first) first.tabIndex = 0;
}

function startTable() {
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    table.filter = filter.value;
    showTable();
  });
  for (const button of document.querySelectorAll("[data-rows]")) {
    button.addEventListener("click", () => {
      table.rows = button.dataset.rows;
      for (const other of document.querySelectorAll("[data-rows]")) other.setAttribute("aria-pressed", String(other === button));
      showTable();
    });
  }
  const baseline = document.getElementById("baseline");
  document.getElementById("baseline-label").hidden = DATA.runs.length < 2;
  baseline.append(...DATA.runs.map((run, index) => h("option", { value: index }, run.name)));
  baseline.value = String(table.baseline);
  baseline.addEventListener("change", () => {
    table.baseline = Number(baseline.value);
    showTable();
  });
  showTable();
}
