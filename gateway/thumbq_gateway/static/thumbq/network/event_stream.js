// Generated from clients/typescript/src/network/event_stream.ts by `make typescript`. Change it there.
/** Parses the text of an event stream, which may arrive in pieces of any size (WHATWG HTML, 9.2.6). */
export class EventStreamParser {
    #line = ""; // the unfinished last line
    #endedInReturn = false; // then a line feed that follows is part of the same line end
    #frame = {};
    *push(piece) {
        if (piece === "")
            return;
        const text = this.#endedInReturn && piece.startsWith("\n") ? piece.slice(1) : piece;
        this.#endedInReturn = piece.endsWith("\r");
        const lines = (this.#line + text).split(/\r\n|\r|\n/);
        this.#line = lines.pop() ?? "";
        for (const line of lines) {
            if (line !== "") {
                this.#read(line);
            }
            else if (Object.keys(this.#frame).length > 0) {
                const frame = this.#frame;
                this.#frame = {};
                yield frame;
            }
        }
    }
    #read(line) {
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        const frame = this.#frame;
        if (name === "event")
            frame.event = value;
        else if (name === "data")
            frame.data = frame.data === undefined ? value : `${frame.data}\n${value}`;
        else if (name === "id" && !value.includes("\0"))
            frame.id = value;
        else if (name === "retry" && /^\d+$/.test(value))
            frame.retry = Number(value);
    }
}
