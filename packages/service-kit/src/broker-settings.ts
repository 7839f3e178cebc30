import { z } from "zod";
import { byteSetting } from "./byte-setting.ts";

const streamBytes = byteSetting(1 << 20);

/** How streams are made, by services that make them. What is left out stays as it is where a stream is there. */
export const streamSettings = {
  natsReplicas: z
    .number()
    .int()
    .refine((copies) => [1, 3, 5].includes(copies), "must be 1, 3 or 5")
    .optional()
    .describe("Copies of every stream in a cluster: 1, 3 or 5; left out, those that are there keep theirs"),
  jobStreamBytes: streamBytes
    .optional()
    .describe("Bytes that each of the four logs of jobs may hold; left out, 10 GiB or what the disk allows"),
  scheduleStreamBytes: streamBytes
    .optional()
    .describe("Bytes that the log of delayed jobs and long retries may hold; left out, 10 GiB or what the disk allows"),
  eventsBytes: streamBytes
    .optional()
    .describe("Bytes that the log of events may hold; left out, 10 GiB or what the disk allows"),
};

/** Where in an account of the broker this installation is, when others are in it too. */
export const namespaceSettings = {
  natsPrefix: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, "must be small letters, digits and dashes, and begin with a letter")
    .optional()
    .describe("In front of every subject, stream and bucket, so that several installations share an account"),
  natsDomain: z
    .string()
    .regex(/^[\w-]{1,64}$/, "must be letters, digits, dashes and underscores")
    .optional()
    .describe("JetStream's domain, where the streams are not those of the server that is connected to"),
};

/** Settings of a service that talks to others: spread them into its schema. Files are in PEM and may change while it runs. */
export const brokerSettings = {
  natsUrl: z.string().default("nats://127.0.0.1:4222").meta({
    env: "NATS_URL",
    description: "The broker, or several of one cluster with commas; tls:// for one that is reached by TLS only",
  }),
  natsSeedFile: z
    .string()
    .optional()
    .describe(
      "File with the seed of the service's user at the broker; with it the streams have to be made by another user",
    ),
  natsCredsFile: z.string().optional().describe("A .creds file of the service's user, where the broker has accounts"),
  natsStreamsGiven: z
    .boolean()
    .optional()
    .describe("Whether another user makes the streams; left out: with natsSeedFile, and not with natsCredsFile"),
  ...namespaceSettings,
  ...streamSettings,
  tlsCa: z.string().optional().describe("File with the authorities that are trusted between services"),
  tlsCert: z.string().optional().describe("File with the service's own certificate"),
  tlsKey: z.string().optional().describe("File with the key of the service's own certificate"),
};
