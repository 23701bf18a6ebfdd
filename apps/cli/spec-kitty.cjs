#!/usr/bin/env node
'use strict';
// The `spec-kitty` command, as orchestrators of Spec Kitty call it.
const { askWarm, sayAnswer } = require('./warm.cjs');

askWarm(process.argv.slice(2), (answer) => {
  if (answer !== undefined) return sayAnswer(answer);
  const { launch } = require('./launch.cjs');
  launch('spec-kitty.ts', (reason) => {
    console.error(reason);
    // Whoever calls reads one JSON object, whatever happens.
    const text = JSON.stringify({
      ok: false,
      success: false,
      command: 'orchestrator-api.unknown',
      contract_version: '1.3.0',
      timestamp: new Date().toISOString(),
      correlation_id: `corr-${process.pid.toString(16)}`,
      error_code: 'INTERNAL_ERROR',
      error: reason,
      data: { message: reason },
    });
    sayAnswer({ text, exitCode: 1, stderr: '' });
  });
});
