// A question before anything is changed.

import { byId } from "./dom.js";

const dialog = byId("confirm");
const reason = byId("confirm-reason");
byId("confirm-no").addEventListener("click", () => dialog.close("no"));

/** Ask, and return the reason that was given when the answer is yes, else undefined. */
export function confirmed({ title, text, yes, asksWhy = false }) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  byId("confirm-label").hidden = !asksWhy;
  reason.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = () => resolve(dialog.returnValue === "yes" ? reason.value : undefined);
    dialog.addEventListener("close", answer, { once: true });
  });
}
