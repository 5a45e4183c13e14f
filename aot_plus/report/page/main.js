// The chosen sequence, kept in the address, and the light or dark theme.

const chosen = { sequence: null, object: null };

/** A slash separates name and object: names are folders and cannot contain one. */
function addressOf(name, object) {
  return `#${encodeURIComponent(name)}${object == null ? "" : `/${object}`}`;
}

/** Returns the sequence and object in the address; the first sequence if it names none. */
function fromAddress() {
  const [name, object] = location.hash.slice(1).split("/").map(decoded);
  const sequence = DATA.sequences.find((one) => one.name === name) ?? DATA.sequences[0] ?? null;
  const number = Number(object);
  return { sequence, object: sequence?.objects.includes(number) ? number : null };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not one of our addresses
  }
}

function goTo(name, object) {
  history.replaceState(null, "", addressOf(name, object));
  showChosen();
}

/** Chooses a row; on a narrow page, scrolls to the detail, which is below the table. */
function chooseRow(row) {
  goTo(row.sequence.name, row.object);
  if (matchMedia("(max-width: 68rem)").matches) document.getElementById("detail").scrollIntoView();
}

function showChosen() {
  Object.assign(chosen, fromAddress());
  markChosenRow();
  const detail = document.getElementById("detail");
  const { sequence, object } = chosen;
  if (!sequence) {
    detail.replaceChildren(h("p", { class: "panel muted" }, "No sequences."));
    return;
  }
  const cursor = newCursor();
  detail.replaceChildren(
    detailHead(sequence),
    curvePanel(sequence, object, cursor),
    memoryPanel(sequence, cursor),
    ...(sequence.pictures.length ? [momentsPanel(sequence)] : []));
}

function detailHead(sequence) {
  const step = (by, label, words) => {
    const index = DATA.sequences.indexOf(sequence) + by;
    return h("button", {
      type: "button", class: "quiet", "aria-label": label, disabled: !DATA.sequences[index], "data-step": by,
      click: () => {
        goTo(DATA.sequences[index].name, null);
        document.querySelector(`[data-step="${by}"]`)?.focus();
      },
    }, words);
  };
  const facts = [count(sequence.length, "frame"), `${sequence.frames.length} scored`, count(sequence.objects.length, "object")];
  return h("div", { class: "panel" },
    h("div", { class: "detail-head" },
      h("h2", {}, sequence.name),
      h("div", { class: "steps" }, step(-1, "Previous sequence", "← Previous"), step(1, "Next sequence", "Next →"))),
    h("p", { class: "muted small" }, facts.join(" · ")),
    h("ul", { class: "notes" }, sequence.notes.map((note) => h("li", {}, note))));
}

/** Uses the system's light or dark theme until the button changes it. */
function startTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const label = () => {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
  };
  const stored = storage("theme");
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    storage("theme", document.documentElement.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();
}

/** Reads or writes a value in the browser's local storage; some browsers have none for local files. */
function storage(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

startTheme();
showOverview();
startTable();
showChosen();
addEventListener("hashchange", showChosen);
