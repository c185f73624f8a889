//! The command line through the front door: the real binary on a folder, with the sandbox as platform.

use crate::rig::ferry::Rig;

#[test]
fn a_file_goes_down_the_road() {
    let rig = Rig::start();
    rig.deliver("points.csv", "id,points\nC-1,10\nC-2,20\n");
    rig.once().exits(0);
    assert_eq!((rig.points("C-1"), rig.points("C-2")), (10.0, 20.0));
    assert_eq!(rig.report("points")["rows"]["applied"], 2);
}
