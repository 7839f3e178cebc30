/** A caller asks each server that has calls of its own so often whether it still has them. */
export const probeMs = 2_000;
/** A server that has not answered for so long is taken for dead; one that is killed is known at once, by the broker's own answer. */
export const silentMs = 10_000;
/** A call that no server has taken for so long, nor the broker refused, is lost. */
export const unheardMs = 10_000;
/** A server tells who called that it has the call once it has had it for so long: most are answered before. */
export const takenAfterMs = 300;
/** A stream that its caller has not asked about for so long has lost its caller. */
export const abandonedMs = 20_000;
/** A broker that answers a ping this late does not answer: calls are refused at once. */
export const brokerSilentMs = 5_000;
