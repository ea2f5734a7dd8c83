/** Call the user's code. Its error is reported as uncaught and does not stop the client. */
export async function runCallback(callback: () => unknown): Promise<void> {
  try {
    await callback();
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
