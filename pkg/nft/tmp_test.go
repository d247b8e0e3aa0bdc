package nft
import ("testing";"context";"os";"fmt")
func TestTmp(t *testing.T){
 links:=[]Link{{"lo",1},{"br0",7},{"enp1s0",3},{"enp66s0f0np0",11},{"enp66s0f1np1",12}}
 rs,err:=ReadFile(context.Background(),"/tmp/pol/l2.nft",links)
 if err!=nil{t.Fatal(err)}
 for _,r:=range rs.Rules(){ fmt.Printf("%s %s %d %q:", r.Chain.Table,r.Chain.Name,r.Handle,r.Text); for _,e:=range r.Exprs{fmt.Printf(" %s%+v",e.ExprName(),e)}; fmt.Println()}
 for _,t:=range rs.Tables{for _,s:=range t.Sets{fmt.Println(t,s.Name,s.Flags,s.KeyType,s.Fields,s.KeyLen); for _,r:=range s.Ranges(){fmt.Printf("   %x-%x %v %v\n",r.From,r.To,r.Element.Timeout,r.Element.Verdict)}}}
 _ = rs.Render(os.Stdout,func(r*Rule)(uint64,uint64,bool){return 5,6,r.Handle%2==0})
 _,err=ReadFile(context.Background(),"/tmp/pol/l2.nft",links[:2])
 fmt.Println(err)
 os.WriteFile("/tmp/pol/bad.nft",[]byte("table inet x {\n chain c {\n  foo bar\n }\n}\n"),0644)
 _,err=ReadFile(context.Background(),"/tmp/pol/bad.nft",links[:2])
 fmt.Println(err)
}
