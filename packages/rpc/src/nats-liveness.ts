/** Both ends of a NATS stream say this often that they are there. */
export const pingMs = 15_000;
/** An end that has said nothing for so long is taken for dead. */
export const silenceMs = 45_000;
