//! Words that are left out of text indexes: the articles, pronouns, prepositions, conjunctions and auxiliary verbs of each
//! language. Keys of indexes depend on these lists: they never change.

use super::language::Language;

/// The words of a language, in lower case with their accents, separated by white space.
pub(super) fn of(language: Language) -> &'static str {
    match language {
        Language::None => "",
        Language::Danish => DANISH,
        Language::Dutch => DUTCH,
        Language::English => ENGLISH,
        Language::Finnish => FINNISH,
        Language::French => FRENCH,
        Language::German => GERMAN,
        Language::Hungarian => HUNGARIAN,
        Language::Italian => ITALIAN,
        Language::Norwegian => NORWEGIAN,
        Language::Portuguese => PORTUGUESE,
        Language::Romanian => ROMANIAN,
        Language::Russian => RUSSIAN,
        Language::Spanish => SPANISH,
        Language::Swedish => SWEDISH,
        Language::Turkish => TURKISH,
    }
}

const DANISH: &str = "
    af alle alt anden at blev blive bliver da de dem den denne der deres det dette dig din disse dog du efter eller en end er
    et for fra ham han hans har havde have hende hendes her hos hun hvad hvis hvor i ikke ind jeg jer jo kunne man mange med
    meget men mig min mine mit mod ned noget nogle nu når og også om op os over på selv sig sin sine sit skal skulle som sådan
    thi til ud under var vi vil ville vor være været";

const DUTCH: &str = "
    aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een eens en er ge geen geweest
    haar had heb hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men met mij mijn
    moet na naar niet niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot u uit uw van veel voor want
    waren was wat werd wezen wie wil worden wordt zal ze zelf zich zij zijn zo zonder zou";

const ENGLISH: &str = "
    a about above after again against all am an and any are aren't as at be because been before being below between both but
    by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for from further had hadn't
    has hasn't have haven't having he he'd he'll he's her here here's hers herself him himself his how how's i i'd i'll i'm
    i've if in into is isn't it it's its itself let's me more most mustn't my myself no nor not of off on once only or other
    ought our ours ourselves out over own same shan't she she'd she'll she's should shouldn't so some such than that that's
    the their theirs them themselves then there there's these they they'd they'll they're they've this those through to too
    under until up very was wasn't we we'd we'll we're we've were weren't what what's when when's where where's which while
    who who's whom why why's with won't would wouldn't you you'd you'll you're you've your yours yourself yourselves";

const FINNISH: &str = "
    ei eivät emme en et ette että he heidän heidät heihin heille heillä heiltä heissä heistä heitä hän häneen hänelle hänellä
    häneltä hänen hänessä hänestä hänet häntä itse ja johon joiden joihin joiksi joilla joille joilta joina joissa joista joita
    joka joksi jolla jolle jolta jona jonka jos jossa josta jota jotka kanssa keiden keihin keiksi keille keillä keiltä keinä
    keissä keistä keitä keneen keneksi kenelle kenellä keneltä kenen kenenä kenessä kenestä kenet ketkä ketä koska kuin kuka
    kun me meidän meidät meihin meille meillä meiltä meissä meistä meitä mihin miksi mikä mille millä miltä minkä minua minulla
    minulle minulta minun minussa minusta minut minuun minä missä mistä mitkä mitä mukaan mutta ne niiden niihin niiksi niille
    niillä niiltä niin niinä niissä niistä niitä noiden noihin noiksi noilla noille noilta noin noina noissa noista noita nuo
    nyt näiden näihin näiksi näille näillä näiltä näinä näissä näistä näitä nämä ole olemme olen olet olette oli olimme olin
    olisi olisimme olisin olisit olisitte olisivat olit olitte olivat olla olleet ollut on ovat poikki se sekä sen siihen siinä
    siitä siksi sille sillä siltä sinua sinulla sinulle sinulta sinun sinussa sinusta sinut sinuun sinä sitä tai te teidän
    teidät teihin teille teillä teiltä teissä teistä teitä tuo tuohon tuoksi tuolla tuolle tuolta tuon tuona tuossa tuosta tuota
    tähän täksi tälle tällä tältä tämä tämän tänä tässä tästä tätä vaan vai vaikka yli";

const FRENCH: &str = "
    à ai aie aient aies ait as au aura aurai auraient aurais aurait auras aurez auriez aurions aurons auront aux avaient avais
    avait avec avez aviez avions avons ayant ayez ayons c ce ceci cela ces cet cette d dans de des du elle elles en es est et
    étaient étais était étant été étée étées êtes étés étiez étions eu eue eues eurent eus eut eux fûmes fut fûtes furent il
    ils j je l la le les leur leurs lui m ma mais me même mes moi mon n ne nos notre nous on ont ou où par pas pour qu quand que
    quel quelle quelles quels qui s sa sans se sera serai seraient serais serait seras serez seriez serions serons seront ses
    si soi soient sois soit sommes son sont soyez soyons suis sur t ta te tes toi ton tu un une vos votre vous y";

const GERMAN: &str = "
    aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes auch auf aus bei bin bis bist
    da damit dann das dasselbe daß dass dazu dein deine deinem deinen deiner deines dem demselben den denn denselben der derer
    derselbe derselben des desselben dessen dich die dies diese dieselbe dieselben diesem diesen dieser dieses dir doch dort du
    durch ein eine einem einen einer eines einig einige einigem einigen einiger einiges einmal er es etwas euch euer eure eurem
    euren eurer eures für gegen gewesen hab habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren
    ihrer ihres im in indem ins ist jede jedem jeden jeder jedes jene jenem jenen jener jenes jetzt kann kein keine keinem
    keinen keiner keines können könnte machen man manche manchem manchen mancher manches mein meine meinem meinen meiner meines
    mich mir mit muss musste nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen seiner seines selbst
    sich sie sind so solche solchem solchen solcher solches soll sollte sondern sonst über um und uns unse unsem unsen unser
    unses unter viel vom von vor während war waren warst was weg weil weiter welche welchem welchen welcher welches wenn werde
    werden wie wieder will wir wird wirst wo wollen wollte würde würden zu zum zur zwar zwischen";

const HUNGARIAN: &str = "
    a abban ahhoz ahogy ahol aki akik akkor alatt által általában amely amelyek amelyekben amelyeket amelyet amelynek ami amit
    amolyan amíg amikor át abból arra arról az azok azon azt aztán azzal azért be belül benne bár cikk csak de e eddig egész egy
    egyes egyetlen egyéb egyik egyre ekkor el elég ellen elő először előtt első én éppen ebben ehhez emilyen ennek erre ez ezt
    ezek ezen ezzel ezért és fel felé hanem hiszen hogy hogyan igen így illetve ill ilyen ilyenkor ison ismét itt jó jól jobban
    kell kellett keresztül keressünk ki kívül között közül legalább lehet lehetett legyen lenne lenni lesz lett maga magát majd
    már más másik meg még mellett mert mely melyek mi mit míg miért milyen mikor minden mindent mindenki mindig mint mintha
    mivel most nagy nagyobb nagyon ne néha nekem neki nem néhány nélkül nincs olyan ott össze ő ők őket pedig persze rá s saját
    sem semmi sok sokat sokkal számára szemben szerint szinte talán tehát teljes tovább továbbá több úgy ugyanis új újabb újra
    után utána utolsó vagy vagyis valaki valami valamint való vagyok van vannak volt voltam voltak voltunk vissza vele viszont
    volna";

const ITALIAN: &str = "
    a abbia abbiamo abbiano abbiate ad agl agli ai al all alla alle allo anche avemmo avendo avesse avessero avessi avessimo
    aveste avesti avete aveva avevamo avevano avevate avevi avevo avrà avrai avranno avrebbe avrebbero avrei avremmo avremo
    avreste avresti avrete avrò avuta avute avuti avuto c che chi ci coi col come con contro cui da dagl dagli dai dal dall
    dalla dalle dallo degl degli dei del dell della delle dello di dov dove e è ebbe ebbero ebbi ed era erano eravamo eravate
    eri ero essendo faccio fossi fosse fossero fossimo foste fosti fu fui fummo furono gli ha hai hanno ho i il in io l la le
    lei li lo loro lui ma mi mia mie miei mio ne negl negli nei nel nell nella nelle nello noi non nostra nostre nostri nostro o
    per perché più quale quanta quante quanti quanto quella quelle quelli quello questa queste questi questo sarà sarai saranno
    sarebbe sarebbero sarei saremmo saremo sareste saresti sarete sarò se sei si sia siamo siano siate siete sono sta stai
    stanno sto su sua sue sugl sugli sui sul sull sulla sulle sullo suo suoi ti tra tu tua tue tuo tuoi tutti tutto un una uno
    vi voi vostra vostre vostri vostro";

const NORWEGIAN: &str = "
    alle at av bare begge ble blei bli blir blitt både båe da de deg dei deim deira deires dem den denne der dere deres det
    dette di din disse ditt du dykk dykkar då eg ein eit eitt eller elles en enn er et ett etter for fordi fra før ha hadde han
    hans har hennar henne hennes her hjå ho hoe honom hoss hossen hun hva hvem hver hvilke hvilken hvis hvor hvordan hvorfor i
    ikke ikkje ikkje ingen ingi inkje inn inni ja jeg kan kom korleis korso kun kunne kva kvar kvarhelst kven kvi kvifor man
    mange me med medan meg meget mellom men mi min mine mitt mot mykje ned no noe noen noka noko nokon nokor nokre nå når og
    også om opp oss over på samme seg selv si sia sidan siden sin sine sitt sjøl skal skulle slik so som somme somt så sånn til
    um upp ut uten var vart varte ved vere verte vi vil ville vore vors vort vår være vært å";

const PORTUGUESE: &str = "
    a à ao aos aquela aquelas aquele aqueles aquilo as às até com como da das de dela delas dele deles depois do dos e é ela elas
    ele eles em entre era eram éramos essa essas esse esses esta está estamos estão estas estava estavam estávamos este esteja
    estejam estejamos estes esteve estive estivemos estiver estivera estiveram estivéramos estiverem estivermos estivesse
    estivessem estivéssemos estou eu foi fomos for fora foram fôramos forem formos fosse fossem fôssemos fui há haja hajam
    hajamos hão havemos haver hei houve houvemos houver houvera houverá houveram houveria houverem isso isto já lhe lhes mais
    mas me mesmo meu meus minha minhas muito na não nas nem no nos nós nossa nossas nosso nossos num numa o os ou para pela
    pelas pelo pelos por qual quando que quem são se seja sejam sejamos sem ser será serão serei seremos seria seriam seu seus
    só somos sou sua suas também te tem têm temos tenha tenham tenho terá terei teu teus teve tinha tinham tive tivemos tu tua
    tuas um uma você vocês vos";

const ROMANIAN: &str = "
    a abia acea aceasta această aceea aceeasi acei aceia acel acela acele acelea acest acesta aceste acestea acestei acestia
    acestui aceşti aceştia acolo acum ai aia aici al ala ale alea alt alta altceva altcineva alte altul am ar are as asa asta
    astea astăzi asupra atunci au avea avem aveţi azi aş aşa aţi bine ca că câd când câte câţi care cărei căror cărui ce cei cel
    cele celor ci cine cineva cu cui cum cumva da daca dacă dar de deci decât deja deşi din dintr dintre doar după ea ei el ele
    era este eu fără fi fie fiecare fii fim fiu foarte fost iar ii îi îl îmi în înainte între întru îşi îţi la le li lor lui
    lângă mă mai mea mei mele mereu meu mi mie mine mult multă mulţi ne nici nimeni nimic nişte noastră noastre noi nostru
    noştri nouă nu o or ori oricare orice oricine oricum pe pentru peste poate prea prin printr sa să sale sau său se şi sint
    sînt sub sunt suntem ta tăi tale tău te ţi ţie tine toată toate tot totul toţi tu un una unde unei unele uneori unii unor
    unu unui unul va vă voastră voastre voi vom vor vostru voştri vouă vreo vreun";

const RUSSIAN: &str = "
    а без более больше будет будто бы был была были было быть в вам вас вдруг ведь во вот впрочем все всегда всего всех всю вы
    где да даже два для до другой его ее ей ему если есть еще ж же за зачем здесь и из или им иногда их к как какая какой
    когда конечно кто куда ли лучше между меня мне много может можно мой моя мы на над надо наконец нас не него нее ней нельзя
    нет ни нибудь никогда ним них ничего но ну о об один он она они опять от перед по под после потом потому почти при про раз
    разве с сам свою себе себя сейчас со совсем так такой там тебя тем теперь то тогда того тоже только том тот три тут ты у
    уж уже хорошо хоть чего чем через что чтоб чтобы чуть эти этого этой этом этот эту я";

const SPANISH: &str = "
    a al algo algunas algunos ante antes como con contra cual cuando de del desde donde durante e el él ella ellas ellos en
    entre era erais eran eras eres es esa esas ese eso esos esta está estaba estabais estaban estabas estad estada estadas estado
    estados estáis estamos están estando estar estará estarán estarás estaré estaremos estaría estarían estas estás este esté
    estéis estemos estén estés esto estos estoy estuve estuvo fue fuera fueran fueras fueron fui fuimos fuiste ha habéis había
    habían habida habido habiendo habrá habrán habría han has hasta hay haya hayan he hemos hube hubo la las le les lo los más me
    mi mí mía mías mío míos mis mucho muchos muy nada ni no nos nosotras nosotros nuestra nuestras nuestro nuestros o os otra
    otras otro otros para pero poco por porque que qué quien quienes se sea sean seas será serán seré sería serían si sí sido
    siendo sin sobre sois somos son soy su sus suya suyas suyo suyos también tanto te tendrá tendría tenemos tener tenga tengo
    tenía ti tiene tienen todo todos tu tú tus tuve tuvo tuya tuyas tuyo tuyos un una uno unos vosotras vosotros vuestra
    vuestras vuestro vuestros y ya yo";

const SWEDISH: &str = "
    alla allt att av blev bli blir blivit de dem den denna deras dess dessa det detta dig din dina ditt du där då efter ej eller
    en er era ert ett från för ha hade han hans har henne hennes hon honom hur här i icke ingen inom inte jag ju kan kunde man
    med mellan men mig min mina mitt mot mycket ni nu när någon något några och om oss på samma sedan sig sin sina sitta själv
    skulle som så sådan sådana sådant till under upp ut utan vad var vara varför varit varje vars vart vem vi vid vilka vilkas
    vilken vilket vår våra vårt än är åt över";

const TURKISH: &str = "
    acaba ama ancak aslında az bana bazı belki ben benden beni benim bile bir birçok biri birkaç birşey biz bize bizden bizi
    bizim böyle bu buna bunda bundan bunlar bunları bunların bunu bunun burada çok çünkü da daha dahi de defa değil diye dolayı
    eğer en gibi göre hala hangi hatta hem henüz hep hepsi her herhangi herkes hiç hiçbir için ile ilgili ise işte itibaren
    kadar karşın katrilyon kendi kendine kendini ki kim kime kimi kimse mı mi mu mü nasıl ne neden nedenle nerde nerede nereye
    niçin niye o olan olarak oldu olduğu olduğunu olmak olması olmaz olsa olsun olup olur ona ondan onlar onlardan onları
    onların onu onun orada oysa öyle pek rağmen sadece sanki şayet şey şeyi şeyler şimdi siz sizden sizi sizin sonra şöyle şu
    şuna şunda şundan şunu tarafından tüm üzere var ve veya ya yani yapacak yapılan yapmak yer yerine yine yoksa zaten";
