/** Return the gateway's address with a slash at its end. Without a `url`, it is the origin of the page. */
export function gatewayAddress(url: string | URL | undefined): URL {
  const given = url ?? (globalThis.location as Location | undefined)?.origin;
  if (given === undefined) throw new TypeError("Outside of a page, url has to name the gateway.");
  return new URL(String(given).replace(/\/*$/, "/"));
}

/**
 * Return the address of a picture. Its version makes the browser fetch a new picture at an old path. The gateway names
 * the version of its own pictures, and lets a browser keep those for long.
 */
export function pictureAddress(gateway: URL, path: string, timestamp: string | null): string {
  const address = new URL(path, gateway);
  if (timestamp !== null && !address.searchParams.has("v")) address.searchParams.set("v", String(Date.parse(timestamp)));
  return address.href;
}
