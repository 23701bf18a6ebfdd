const words = process.argv.slice(2);
if (words[0] === 'orchestrator-api') {
  // Orchestrators call it again and again: it loads only what it needs.
  const { runProcess } = await import('./orchestrator/process.ts');
  const { runOrchestratorApi } = await import('./orchestrator/run.ts');
  await runProcess((context) => runOrchestratorApi(words.slice(1), context));
} else {
  const { processIo } = await import('./io.ts');
  const { run } = await import('./program.ts');
  const code = await run(words, processIo());
  // Idle connections would keep the process for seconds; what was written has to be out first.
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
}
