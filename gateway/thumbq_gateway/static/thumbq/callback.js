// Generated from clients/typescript/src/callback.ts by `make typescript`. Change it there.
/** Calls what belongs to somebody else. An error of theirs is reported as uncaught, and nothing here stops for it. */
export async function called(call) {
    try {
        await call();
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
