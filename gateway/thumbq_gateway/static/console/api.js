// The gateway's JSON routes, as the console uses them.

export async function get(path) {
  return answer(await fetch(`/api/${path}`, { cache: "no-store" }));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function answer(response) {
  const text = await response.text();
  if (response.ok) return text ? JSON.parse(text) : {};
  const error = new Error(sentence(response.status, text));
  error.status = response.status;
  throw error;
}

function sentence(status, text) {
  try {
    return JSON.parse(text).message || text;
  } catch {
    return text || `The gateway answered ${status}.`;
  }
}
