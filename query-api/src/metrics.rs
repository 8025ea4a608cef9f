//! Handing the counts of the view to the metrics.

use model::Timestamp;
use telemetry::ViewMetrics;
use view::View;

/// Brings the metrics of the view up to date. Call it now and then, such as before a scrape.
pub fn record(view: &View, metrics: &ViewMetrics) {
    let stats = view.stats();
    metrics.lists.set((stats.stores + stats.items) as i64);
    metrics.rows.set(stats.rows as i64);
    metrics.render_hits.inc_by(stats.render_hits.saturating_sub(metrics.render_hits.get()));
    metrics.render_misses.inc_by(stats.render_misses.saturating_sub(metrics.render_misses.get()));
    let now = Timestamp::now();
    for (partition, _) in view.position().iter() {
        metrics.lag_seconds(partition.0).set(view.lag(partition, now).as_secs_f64());
    }
}
