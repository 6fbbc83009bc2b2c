//! Faults that tests plant, so that whoever looks for them can be tested.

/// A fault planted on purpose, so that the simulator's oracles can be tested. Never set in production:
/// no flag and no file reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// A version that arrives wins, whatever its rank (against I5).
    ArrivalOrder,
    /// Of two stamps that differ in their region alone, the one that arrives is greater (against I5).
    TieByArrival,
    /// A version of the rank that is there replaces it: `>=` where `>` belongs (replication.md section 4).
    EqualRankWins,
    /// The mutations of a transaction are logged as commits of their own (against I6).
    TransactionSplit,
    /// The clock's bound is not saved, so a clock set back reissues stamps (against I11).
    ClockBoundForgotten,
    /// The frontier is saved one group late, so a crash reuses sequence numbers (against I1, I4).
    FrontierLate,
    /// A concurrent version that lost is not recorded (against I10).
    ConflictForgotten,
    /// Versions of two origins conflict, whatever their writers had seen (against I10).
    ContextIgnored,
    /// Index entries of replaced images stay (against I7).
    IndexDeleteForgotten,
    /// Tombstones go by this region's own clock (against I9).
    CollectAlone,
    /// A commit stamped too far ahead is counted as applied, and its changes dropped (replication.md section 3).
    HeldDropped,
    /// Local writes are taken whatever the clock (replication.md section 3).
    FenceForgotten,
    /// Removals leave no record in streams (against I12).
    StreamRecordForgotten,
    /// A restored or new store goes on under the incarnation it finds (against I1).
    IncarnationKept,
    /// Tombstones are left out of copies (against I5).
    CopyWithoutTombstones,
    /// An expiry is ranked by when it was made, not by the version it expires (replication.md section 4).
    ExpiryAsWrite,
    /// A conflict dropped by retention is not counted.
    ConflictDropUncounted,
    /// A region that joins is not waited for (against I8).
    JoinerUncounted,
    /// A new replica says that it has everything when it has heard that it is one (global-tables.md section 3).
    WholeBeforeCopy,
    /// The building of an index leaves out the first item of each step (against I7).
    BackfillSkips,
    /// Of a table that merges, what a region added counts again with each later addition (docs/merging.md).
    CounterAddsTwice,
    /// One region decides alone that another has lapsed (replication.md section 10).
    LapseByMinority,
    /// What a lapsed region wrote where there is nothing now is dropped (replication.md section 10).
    RescueDropsAbsent,
}
