// Which cell goes with which where the reader points, by another method where the one shown does not say it itself.

import { methodOf, methodsFor } from "./state.js";

export function point(lab, pointer) {
  for (const row of lab.rows) row.pointAt(pointer);
  if (pointer) matchRows(lab);
}

async function matchRows(lab) {
  for (const row of lab.rows) if (lacksMatches(row.facts())) await matchRow(lab, row, row.facts().ask);
}

const lacksMatches = (facts) => facts && facts.fresh && !facts.result.joint && !facts.matches && !facts.matching;

async function matchRow(lab, row, ask) {
  row.show({ matching: true });
  const found = await matchesFor(lab, ask);
  if (found && row.facts()?.ask === ask) row.show(found);
}

// Integrated Jacobians if they are stored, for they are slow; else deep similarity, if the model is there already.
async function matchesFor({ index, results }, ask) {
  const [slow, quick] = ["integrated_jacobians", "deep_similarity"].map((name) => ({ ...ask, method: methodOf(index, name), options: {} }));
  const stored = await results.stored(slow);
  if (stored) return told(slow, stored);
  if (!results.isLoaded(ask.model.name) || !methodsFor(index, ask.model).includes(quick.method)) return null;
  return results.find(quick, {}).then((found) => told(quick, found), () => null);
}

const told = ({ method }, { result }) => ({ matches: result.joint, matchesBy: method.title });
