// Addresses of pictures, which come from this host only.

/** Return the address of a notification's picture, or "" if it is malformed or on another host. */
export function pictureAddress(thumbnailUrl, cursor) {
  try {
    const address = new URL(thumbnailUrl, location.href);
    // A new picture keeps the model's address, so the cursor makes the browser load it.
    address.search ||= `v=${cursor}`;
    return address.origin === location.origin ? address.href : "";
  } catch {
    return "";
  }
}
