// Generated from clients/typescript/src/addresses.ts by `make typescript`. Change it there.
/** The gateway's address with a slash at its end: the one given, or where the page comes from. */
export function gatewayAddress(url) {
    const given = url ?? globalThis.location?.origin;
    if (given === undefined)
        throw new TypeError("Outside of a page, url has to name the gateway.");
    return new URL(String(given).replace(/\/*$/, "/"));
}
/** Where a picture is fetched from. The version tells the browser that it is another one at the same address. */
export function pictureAddress(gateway, path, timestamp) {
    const address = new URL(path, gateway);
    if (timestamp !== null)
        address.searchParams.set("v", String(Date.parse(timestamp)));
    return address.href;
}
