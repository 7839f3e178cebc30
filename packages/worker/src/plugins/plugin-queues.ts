/** Queues whose jobs call a plugin by its name: the job's type is the plugin, and a tag `export:<name>` says what is called. */
export const pluginQueues = { events: "plugin-events", tasks: "plugin-tasks" } as const;
