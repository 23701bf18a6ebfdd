#!/usr/bin/env node
'use strict';
// The `ironclaw` command.
const { launch } = require('./launch.cjs');

launch('main.ts', (reason) => {
  console.error(reason);
  process.exit(1);
});
