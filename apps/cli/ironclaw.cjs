#!/usr/bin/env node
'use strict';
// The `ironclaw` command.
const words = process.argv.slice(2);

// Orchestrators call it again and again: a process that has it loaded may answer.
if (words[0] === 'orchestrator-api') {
  const { askWarm, sayAnswer } = require('./warm.cjs');
  askWarm(words, (answer) => (answer === undefined ? run() : sayAnswer(answer)));
} else {
  run();
}

function run() {
  const { launch } = require('./launch.cjs');
  launch('main.ts', (reason) => {
    console.error(reason);
    process.exit(1);
  });
}
