// Shows markup, keeps open and typed state across updates, and reports events by name.
const BUSY = "The kernel is busy running a cell; your action waits for it to end. " +
  "To end it now, interrupt the kernel (the square in the toolbar).";
const STOPPED = "The kernel has stopped. Run the cell again.";
const KEPT = new Set(["open", "aria-busy", "srcdoc"]);

function sync(from, to) {
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && !KEPT.has(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes)
    if (from.getAttribute(name) !== value && !KEPT.has(name)) from.setAttribute(name, value);
}

const isSame = (one, other) =>
  one && other && one.nodeType === other.nodeType && one.nodeName === other.nodeName &&
  (one.dataset?.key ?? "") === (other.dataset?.key ?? "");

// Change only what differs, to keep focus, typed text and open parts.
function morph(from, to) {
  let old = from.firstChild;
  for (const child of [...to.childNodes]) {
    let found = old;
    while (found && !isSame(found, child)) found = found.nextSibling;
    if (!found) { from.insertBefore(child, old); continue; }
    while (old !== found) { const next = old.nextSibling; old.remove(); old = next; }
    old = found.nextSibling;
    if (found.nodeType !== Node.ELEMENT_NODE) {
      if (found.data !== child.data) found.data = child.data;
    } else if (!found.isEqualNode(child)) {
      sync(found, child);
      morph(found, child);
    }
  }
  while (old) { const next = old.nextSibling; old.remove(); old = next; }
}

function follow(root, slider) {
  const at = Number(slider.value);
  for (const each of root.querySelectorAll(`[data-follows="${slider.id}"]`)) {
    const value = JSON.parse(each.dataset.values)[at];
    if (each.dataset.sets === "text") each.textContent = value;
    else for (const name of each.dataset.sets.split(" ")) each.setAttribute(name, value);
  }
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mlops-kit";
  root.lang = "en";
  // Outside the kernel's page, for when the kernel doesn't answer.
  const note = document.createElement("p");
  note.className = "mlops-kit-note";
  note.setAttribute("role", "status");
  el.append(note, root);
  const draw = () => {
    const template = document.createElement("template");
    template.innerHTML = model.get("markup");
    morph(root, template.content);
    for (const slider of root.querySelectorAll("input[type=range]")) follow(root, slider);
    for (const frame of root.querySelectorAll("iframe[sandbox]"))
      if (frame.srcdoc !== model.get("document")) frame.srcdoc = model.get("document");
  };
  let patience = 0;
  const say = (act, given) => {
    model.send({ act, ...given });
    clearTimeout(patience);
    patience = setTimeout(() => { note.textContent = BUSY; }, 3000);
  };
  root.addEventListener("click", (event) => {
    const found = event.target.closest("[data-act],[data-opens],[data-closes]");
    if (!found || found.tagName === "FORM" || found.getAttribute("aria-busy") === "true") return;
    if (found.dataset.opens) {
      const dialog = root.querySelector(`dialog[data-key="${found.dataset.opens}"]`);
      dialog.showModal();
      dialog.querySelector("[data-first]")?.focus();
    } else if (found.dataset.closes !== undefined) found.closest("dialog").close();
    else {
      found.setAttribute("aria-busy", "true");
      say(found.dataset.act, { given: { ...found.dataset } });
    }
  });
  // A notebook takes Enter from a text field even if its shortcuts are suppressed.
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.type !== "text") return;
    event.preventDefault();
    event.stopPropagation();
    event.target.form?.requestSubmit();
  });
  root.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    const given = Object.fromEntries(new FormData(form));
    say(form.dataset.act, { given: { ...form.dataset, ...given } });
    form.closest("dialog")?.close();
  });
  root.addEventListener("change", (event) => {
    const found = event.target.closest("select[data-act]");
    if (found) say(found.dataset.act, { given: { ...found.dataset, value: found.value } });
  });
  root.addEventListener("input", (event) => {
    if (event.target.type === "range") follow(root, event.target);
  });
  // A hidden page needs no updates.
  const seen = () => say(document.hidden ? "hidden" : "shown", {});
  document.addEventListener("visibilitychange", seen);
  // Whatever the outcome of an action, its button can be pressed again.
  const rest = () => {
    clearTimeout(patience);
    note.textContent = "";
    for (const each of root.querySelectorAll("[aria-busy]")) each.removeAttribute("aria-busy");
  };
  model.on("change:markup", draw);
  // While a page is shown, its connection changes only by ending, on a restart.
  const stop = () => {
    clearTimeout(patience);
    note.textContent = STOPPED;
    for (const each of root.querySelectorAll("button, select, input:not([type=range]), textarea"))
      each.disabled = true;
  };
  model.on("msg:custom", rest);
  model.on("comm_live_update", stop);
  draw();
  return () => {
    model.off("change:markup", draw);
    model.off("msg:custom", rest);
    model.off("comm_live_update", stop);
    document.removeEventListener("visibilitychange", seen);
    clearTimeout(patience);
  };
}

export default { render };
