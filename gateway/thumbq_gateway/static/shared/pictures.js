// Where a picture is fetched from: this host only.

/** The address of a notification's picture, or "" when it leads elsewhere or nowhere. */
export function pictureAddress(thumbnailUrl, cursor) {
  try {
    const address = new URL(thumbnailUrl, location.href);
    // A model's address stays when its picture changes: only the cursor tells the browser that this one is new.
    address.search ||= `v=${cursor}`;
    return address.origin === location.origin ? address.href : "";
  } catch {
    return "";
  }
}
