/** Calls what belongs to somebody else. An error of theirs is reported as uncaught, and nothing here stops for it. */
export async function called(call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (typeof reportError === "function") {
      reportError(error);
    } else {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
