// Tells a screen reader about new thumbnails, at most once in a few seconds and in one sentence.

const pause = 4_000; // milliseconds
const announcement = document.getElementById("announcement");
let ready = 0;
let failed = 0;
let timer = 0;

export function announce(status) {
  if (status === "Ready") ready += 1;
  else if (status === "Failed") failed += 1;
  else return;
  timer ||= setTimeout(speak, pause);
}

function speak() {
  const parts = [ready && `${ready} ready`, failed && `${failed} failed`].filter(Boolean);
  announcement.textContent = `Thumbnails: ${parts.join(", ")}.`;
  ready = failed = timer = 0;
}
