DROP TABLE plugin_versions;
