// Signing in: the gateway keeps the API key in a cookie that no script reads.

import { get, post, remove } from "./api.js";
import { byId, setText } from "./dom.js";

const dialog = byId("sign-in");
const key = byId("sign-in-key");
const refused = byId("sign-in-refused");
const noted = "thumbq-signed-in"; // tells later visits that there is a cookie to forget

/** Return once the gateway answers this page, if need be after its reader has signed in. */
export async function signedIn() {
  try {
    await get("admin/stats");
  } catch (error) {
    // Anything but a missing key is told by the console itself.
    if (error.status === 401) await ask();
  }
}

/** Return whether the reader has shown a key, by whose name the server then knows who pauses the queue. */
export const hasSignedIn = () => localStorage.getItem(noted) !== null;

function ask() {
  let isSignedIn = false;
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => isSignedIn || dialog.showModal()); // a second Escape closes it all the same
  dialog.showModal();
  return new Promise((resolve) => {
    byId("sign-in-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      refused.hidden = true;
      try {
        await post("session", { apiKey: key.value.trim() });
      } catch (error) {
        setText(refused, error.message);
        refused.hidden = false;
        return;
      }
      key.value = "";
      localStorage.setItem(noted, "yes");
      byId("sign-out").hidden = false;
      isSignedIn = true;
      dialog.close();
      resolve();
    });
  });
}

/** Let the button work. `attempt` runs what it does, and shows what goes wrong. */
export function connectSignOut(attempt) {
  const button = byId("sign-out");
  button.hidden = !hasSignedIn();
  button.addEventListener("click", () =>
    attempt(async () => {
      await remove("session");
      localStorage.removeItem(noted);
      location.reload();
    }),
  );
}
