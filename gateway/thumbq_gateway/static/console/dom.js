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
  return element("td", length > longText ? { class: "long" } : {}, content);
}

/** Show rows in a table, and the sentence `none` instead when there are none. Keeps the focus of a button in a row. */
export function fill(table, rows, none) {
  const focused = document.activeElement?.dataset?.key;
  table.tBodies[0].replaceChildren(...rows);
  table.hidden = rows.length === 0;
  if (none) none.hidden = rows.length > 0;
  if (focused) table.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

export function button(text, key, action) {
  const made = element("button", { type: "button", "data-key": key }, text);
  made.addEventListener("click", action);
  return made;
}
