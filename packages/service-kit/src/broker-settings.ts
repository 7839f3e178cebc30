import { z } from "zod";

/** Settings of a service that talks to others: spread them into its schema. Files are in PEM and may change while it runs. */
export const brokerSettings = {
  /** `tls://` for a broker that is reached by TLS only. */
  natsUrl: z.string().default("nats://127.0.0.1:4222").meta({ env: "NATS_URL" }),
  /** File with the seed of the service's user at the broker; then the streams are made by another user. */
  natsSeedFile: z.string().optional(),
  /** Authorities that are trusted between services. */
  tlsCa: z.string().optional(),
  /** The service's own certificate and its key. */
  tlsCert: z.string().optional(),
  tlsKey: z.string().optional(),
};
