/** Loaded before a program: puts the faults of the mutant that MUTANT names into the sources as they are loaded. */
import { registerHooks } from "node:module";
import { MUTANTS } from "./mutants.ts";

const mutant = MUTANTS.find(({ name }) => name === process.env["MUTANT"]);
if (!mutant) throw new Error(`no mutant ${process.env["MUTANT"] ?? ""}`);

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context);
    const changes = mutant.changes.filter(({ file }) => url.endsWith(`/${file}`));
    if (changes.length === 0) return loaded;
    let source = Buffer.from((loaded.source ?? "") as Uint8Array).toString();
    for (const { find, replace } of changes) {
      if (source.split(find).length !== 2) throw new Error(`not once in ${url}: ${find}`);
      source = source.replace(find, () => replace);
    }
    return { ...loaded, source };
  },
});
