// Generated from clients/typescript/src/network/stream_request.ts by `make typescript`. Change it there.
const mostModels = 10_000; // of one subscription, at the gateway; the events of more are sorted out here
const longestAddress = 4_000; // characters of a list of models; a longer one is posted
/** Return the address of a stream, and the body to post when the models do not fit into the address. */
export function streamAddress(gateway, request) {
    const address = new URL("api/notifications", gateway);
    const modelIds = request.modelIds.length > mostModels ? "" : request.modelIds.join(",");
    if (modelIds.length > longestAddress)
        return { address, body: JSON.stringify(request) };
    address.searchParams.set("after", request.after);
    if (modelIds)
        address.searchParams.set("modelId", modelIds);
    if (request.statuses.length > 0)
        address.searchParams.set("status", request.statuses.join(","));
    if (request.queue)
        address.searchParams.set("queue", "true");
    return { address };
}
