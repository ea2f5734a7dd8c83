// Generated from clients/typescript/src/callback.ts by `make typescript`. Change it there.
/** Call the user's code. Its error is reported as uncaught and does not stop the client. */
export async function runCallback(callback) {
    try {
        await callback();
    }
    catch (error) {
        if (typeof reportError === "function") {
            reportError(error);
        }
        else {
            queueMicrotask(() => {
                throw error;
            });
        }
    }
}
