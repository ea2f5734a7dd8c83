// Elements. All values from outside are set as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** Return a new element with attributes and children; a text becomes a text node. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const longText = 30; // characters that stay on one line

/** Return a row of a table; each cell is a text or an element. */
export const row = (...cells) => element("tr", {}, ...cells.map(cellOf));

function cellOf(content) {
  const length = (content.textContent ?? content).length;
  return element("td", length > longText ? { class: "long", dir: "auto" } : {}, content);
}

/** Show rows in a table, and the sentence `none` instead when there are none. */
export function fill(table, rows, none) {
  const focused = table.contains(document.activeElement) && document.activeElement.dataset.key;
  renew(table.tBodies[0], rows);
  table.hidden = table.parentElement.hidden = rows.length === 0;
  if (none) none.hidden = rows.length > 0;
  if (!focused || table.contains(document.activeElement)) return;
  const again = table.querySelector(`[data-key="${CSS.escape(focused)}"]`);
  (again ?? table.closest("section")).focus();
}

/**
 * Give an element these children. Those that are as before stay, so that a look at the queue takes away neither the
 * focus nor a selection, nor a click that has begun.
 */
export function renew(parent, children) {
  const present = [...parent.children];
  children.forEach((child, index) => {
    const before = present[index];
    if (!before) parent.append(child);
    else if (before.isEqualNode(child)) return;
    else if (before.localName === "tr") renew(before, [...child.children]);
    else before.replaceWith(child);
  });
  for (const left of present.slice(children.length)) left.remove();
}

export const link = (text, address) => element("a", { href: address, "data-key": address }, text);

export function button(text, key, action) {
  const made = element("button", { type: "button", "data-key": key }, text);
  made.addEventListener("click", action);
  return made;
}

/** Disable a button, or not. The focus goes to another element when it stands on a button that is disabled. */
export function disable(target, isDisabled, other) {
  if (isDisabled && document.activeElement === target) other.focus();
  target.disabled = isDisabled;
}
