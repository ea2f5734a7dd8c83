/** Send the form of an operation, and return what the gateway answers. */
async function send(form) {
  const { method, path } = form.dataset;
  let filled = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of form.querySelectorAll("input")) {
    const place = input.dataset.in;
    if (place === "path") filled = filled.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "" && place === "query") query.append(input.name, input.value);
    else if (input.value !== "") headers[input.name] = input.value;
  }
  const body = form.querySelector("textarea")?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const key = document.getElementById("key").value.trim();
  if (key) headers["X-Api-Key"] = key;
  const asked = `${filled}${query.size > 0 ? `?${query}` : ""}`;
  const response = await fetch(asked, { method: method.toUpperCase(), headers, body, cache: "no-store" });
  const text = await response.text();
  return `${method.toUpperCase()} ${asked}\n${response.status} ${response.statusText}\n\n${pretty(text)}`;
}

/** Return JSON with line breaks, and any other text as it is. */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = event.target.querySelector("output");
  if (!output) return; // the answer is no text that ends, so there is no button: the Enter key sent this
  const shown = document.createElement("pre");
  shown.textContent = "Waiting for the answer.";
  output.replaceChildren(shown);
  try {
    shown.textContent = await send(event.target);
  } catch (error) {
    shown.textContent = `The gateway cannot be reached: ${error.message}`;
  }
});

/** A link to a type or an operation opens it. */
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

addEventListener("hashchange", reveal);
reveal();
