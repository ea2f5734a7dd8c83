// Generated from clients/typescript/src/sharing/tab.ts by `make typescript`. Change it there.
import { isVisible, onVisibility } from "../network/visibility.js";
import { Leader } from "./leader.js";
import { meetingPlace } from "./messages.js";
/** This tab among those that listen to the same gateway. While it is visible, it stands ready to lead them. */
export class Tab {
    static #tabs = new Map();
    #gateway;
    #members = 0;
    #candidacy;
    #stopWatching = () => undefined;
    constructor(gateway) {
        this.#gateway = gateway;
    }
    static of(gateway) {
        const tab = Tab.#tabs.get(gateway.href) ?? new Tab(gateway);
        Tab.#tabs.set(gateway.href, tab);
        return tab;
    }
    /** Count one subscription more. */
    enter() {
        this.#members += 1;
        if (this.#members === 1)
            this.#stopWatching = onVisibility(() => this.#update());
        this.#update();
    }
    /** Count one subscription less. */
    leave() {
        this.#members -= 1;
        if (this.#members === 0)
            this.#stopWatching();
        this.#update();
    }
    /** Take the lead from a tab that passes nothing on, for instance because its script hangs. */
    takeOver() {
        if (!isVisible())
            return;
        this.#candidacy?.abort();
        this.#stand({ steal: true });
    }
    #update() {
        const isReady = this.#members > 0 && isVisible();
        if (isReady && !this.#candidacy)
            this.#stand({});
        if (!isReady)
            this.#candidacy?.abort();
    }
    #stand(options) {
        const candidacy = (this.#candidacy = new AbortController());
        const { signal } = candidacy;
        const lead = () => (signal.aborted ? Promise.resolve() : new Leader(this.#gateway).run(signal));
        // A lock cannot be stolen and be waited for at once.
        const chosen = options.steal ? options : { signal };
        const ended = () => {
            candidacy.abort(); // another tab may have taken the lead
            if (this.#candidacy !== candidacy)
                return;
            this.#candidacy = undefined;
            this.#update();
        };
        navigator.locks.request(meetingPlace(this.#gateway), chosen, lead).then(ended, ended);
    }
}
