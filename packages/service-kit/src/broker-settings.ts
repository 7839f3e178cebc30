import { z } from "zod";

/** Settings of a service that talks to others: spread them into its schema. Files are in PEM and may change while it runs. */
export const brokerSettings = {
  natsUrl: z.string().default("nats://127.0.0.1:4222").meta({
    env: "NATS_URL",
    description: "The broker; tls:// for one that is reached by TLS only",
  }),
  natsSeedFile: z
    .string()
    .optional()
    .describe(
      "File with the seed of the service's user at the broker; with it the streams have to be made by another user",
    ),
  tlsCa: z.string().optional().describe("File with the authorities that are trusted between services"),
  tlsCert: z.string().optional().describe("File with the service's own certificate"),
  tlsKey: z.string().optional().describe("File with the key of the service's own certificate"),
};
